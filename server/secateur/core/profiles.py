"""Device profiles that projects add to the built-in ones: how the two are told apart, and what an added one has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from secateur.core.devices import PROFILES, DeviceProfile
from secateur.core.errors import AlreadyExists, InvalidArgument

MAX_PROFILES_PER_PROJECT: Final = 100
"""Device profiles that a project may have at one time, the built-in ones not counted."""


@dataclass(frozen=True, slots=True)
class ProfileName:
    """What a device profile is called.

    Args:
        id: Its id: of a built-in one among the built-in ones, else within its project.
        project: Project that added it; empty if it is built in.
    """

    id: str
    project: str = ""

    @classmethod
    def of(cls, profile: DeviceProfile) -> ProfileName:
        """Returns the name of a profile."""
        return cls(profile.id, profile.project)


def check_addable(profile: DeviceProfile) -> None:
    """Refuses a profile that a project may not add.

    Args:
        profile: The profile.

    Raises:
        InvalidArgument: DEVICE_PROFILE_INVALID, if the device leaves a model no RAM.
        AlreadyExists: DEVICE_PROFILE_EXISTS, if a built-in profile has its id: nobody could tell which one is meant.
    """
    if profile.id in PROFILES:
        raise AlreadyExists(
            "DEVICE_PROFILE_EXISTS",
            f"A built-in device profile has this id; choose another one. Received: {profile.id}",
            field="device_profile_id",
        )
    if profile.usable_ram_bytes <= 0:
        reserved = profile.ram_bytes - profile.usable_ram_bytes
        raise InvalidArgument(
            "DEVICE_PROFILE_INVALID",
            f"A device that runs {profile.runtime.value} keeps {reserved:,} bytes of RAM for its own software, which leaves a "
            f"model none. Received: {profile.ram_bytes:,} bytes",
            field="device_profile.ram_bytes",
        )
