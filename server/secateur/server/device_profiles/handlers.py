"""Shows device profiles, and adds and deletes those of a project."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.core import devices
from secateur.core.devices import DeviceProfile
from secateur.core.errors import FailedPrecondition, NotFound
from secateur.core.missing import missing
from secateur.core.profiles import ProfileName, check_addable
from secateur.core.serial import digest_of, to_data
from secateur.server.places import place_of, token_of
from secateur.store import Store
from secateur.store.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from secateur.store.records import Page
from secateur.store.unit_of_work import Snapshot


@dataclass(frozen=True, slots=True)
class CreateDeviceProfile:
    """A request to add a device profile.

    Args:
        profile: What is added; it names its project.
        request_id: Idempotency key; empty for none.
        validate_only: Only check and answer.
    """

    profile: DeviceProfile
    request_id: str
    validate_only: bool


@dataclass(frozen=True, slots=True)
class ListDeviceProfiles:
    """Which device profiles are listed.

    Args:
        project: Project whose own are listed after the built-in ones; empty for the built-in ones alone.
        page_size: Most rows; 0 for the default.
        page_token: Token of an earlier answer; empty for the first page.
    """

    project: str
    page_size: int
    page_token: str


def create_device_profile(command: CreateDeviceProfile, *, store: Store) -> DeviceProfile:
    """Adds a device profile to its project, and returns it.

    Raises:
        AlreadyExists: DEVICE_PROFILE_EXISTS.
        QuotaExceeded: DEVICE_PROFILE_QUOTA.
        InvalidArgument: DEVICE_PROFILE_INVALID or REQUEST_ID_REUSED.
        NotFound: DEVICE_PROFILE_NOT_FOUND, if what the same `request_id` made was deleted since.
    """
    check_addable(command.profile)
    with store.unit_of_work() as work:
        profile = work.device_profiles.create(
            command.profile,
            request_id="" if command.validate_only else command.request_id,
            fingerprint=digest_of(to_data(command.profile)),
        )
        if not command.validate_only:
            work.commit()
    return profile


def get_device_profile(name: ProfileName, *, store: Store) -> DeviceProfile:
    """Returns a device profile.

    Raises:
        NotFound: DEVICE_PROFILE_NOT_FOUND.
    """
    if name.project:
        with store.snapshot() as work:
            return work.device_profiles.get(name.project, name.id)
    if name.id not in devices.PROFILES:
        raise NotFound(
            "DEVICE_PROFILE_NOT_FOUND",
            f"There is no such built-in device profile; known: {', '.join(sorted(devices.PROFILES))}. Received: {name.id}",
            field="name",
        )
    return devices.PROFILES[name.id]


def delete_device_profile(name: ProfileName, *, store: Store) -> None:
    """Deletes a device profile of a project.

    Raises:
        FailedPrecondition: DEVICE_PROFILE_BUILT_IN.
        NotFound: DEVICE_PROFILE_NOT_FOUND.
    """
    if not name.project:
        raise FailedPrecondition(
            "DEVICE_PROFILE_BUILT_IN",
            f"Only device profiles that a project has added can be deleted. Received: {name.id}",
            field="name",
        )
    with store.unit_of_work() as work:
        work.device_profiles.delete(name.project, name.id)
        work.commit()


def list_device_profiles(query: ListDeviceProfiles, *, store: Store) -> Page[DeviceProfile]:
    """Returns one page of device profiles by id: the built-in ones, then those of a project.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    own: tuple[DeviceProfile, ...] = ()
    if query.project:
        with store.snapshot() as work:
            own = work.device_profiles.list(query.project)
    after = place_of(query.page_token, query.project, devices.PROFILES)
    rest = [profile for profile in (*devices.PROFILES.values(), *own) if _place(profile) > after]
    rest.sort(key=_place)
    page = tuple(rest[: min(query.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)])
    return Page(page, next_page_token=token_of(*_place(page[-1])) if len(page) < len(rest) else "")


def find_profile(name: ProfileName | None, project: str, work: Snapshot) -> DeviceProfile | None:
    """Returns the device profile that a request names; None if it names none.

    Args:
        name: What the request names.
        project: Project that asks. What another project has is not to be told from what nobody has.
        work: Where the project's own profiles are.

    Raises:
        InvalidArgument: DEVICE_PROFILE_UNKNOWN, if it is no built-in one.
        NotFound: DEVICE_PROFILE_NOT_FOUND, if it is none of the project's own.
    """
    if name is None:
        return None
    if not name.project:
        return devices.get(name.id)
    if name.project != project:
        raise missing("deviceProfiles", project, f"one of project {name.project}", field="device_profile")
    return work.device_profiles.get(project, name.id)


def _place(profile: DeviceProfile) -> tuple[str, str]:
    return profile.project, profile.id  # the built-in ones have no project, and so come first
