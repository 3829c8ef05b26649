"""Device profiles that projects add."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core import devices
from secateur.core.devices import DeviceProfile, Runtime
from secateur.core.errors import AlreadyExists, InvalidArgument
from secateur.core.profiles import ProfileName, check_addable
from secateur.core.serial import from_data, to_data

MINE = replace(devices.get("stm32f746"), id="my-board", title="My board", source="data sheet", project="p")


def test_a_profile_is_called_by_its_id_and_its_project() -> None:
    assert ProfileName.of(MINE) == ProfileName("my-board", "p")
    assert ProfileName.of(devices.get("nrf52840")) == ProfileName("nrf52840")


def test_a_profile_survives_storage_and_keeps_its_figures() -> None:
    again = from_data(DeviceProfile, to_data(MINE))
    assert again == MINE
    assert again.limits() == devices.get("stm32f746").limits()


def test_a_sound_profile_may_be_added() -> None:
    check_addable(MINE)
    check_addable(replace(MINE, ram_bytes=1024, runtime=Runtime.LITERT))


@pytest.mark.parametrize("profile_id", sorted(devices.PROFILES))
def test_no_profile_takes_the_id_of_a_built_in_one(profile_id: str) -> None:
    with pytest.raises(AlreadyExists, match=profile_id) as caught:
        check_addable(replace(MINE, id=profile_id))
    assert (caught.value.reason, caught.value.field) == ("DEVICE_PROFILE_EXISTS", "device_profile_id")


def test_a_device_that_leaves_a_model_no_ram_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"keeps 61,440 bytes of RAM.*Received: 61,440") as caught:
        check_addable(replace(MINE, ram_bytes=60 * 1024))
    assert (caught.value.reason, caught.value.field) == ("DEVICE_PROFILE_INVALID", "device_profile.ram_bytes")
