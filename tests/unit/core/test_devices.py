"""Device profiles: what a model may take, and how fast it will be."""

from __future__ import annotations

import pytest

from secateur.core import devices
from secateur.core.devices import (
    PROFILES,
    DeviceProfile,
    Runtime,
    assumed_bytes_per_second,
    assumed_seconds_per_operator,
)
from secateur.core.errors import InvalidArgument
from secateur.core.resources import Resource


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_profiles_are_sound(profile: DeviceProfile) -> None:
    assert PROFILES[profile.id] is profile
    assert 0 < profile.usable_flash_bytes < profile.flash_bytes
    assert 0 < profile.usable_ram_bytes < profile.ram_bytes
    assert profile.source
    # between one multiplication in ten cycles (Cortex-M0+ without a MAC unit) and 32 per cycle (NEON, four cores)
    assert 0.1 < profile.macs_per_second / profile.clock_hz < 32


def test_usable_memory_of_a_microcontroller() -> None:
    profile = devices.get("stm32f746")
    assert (profile.flash_bytes, profile.ram_bytes, profile.runtime) == (2**20, 320 * 1024, Runtime.TFLM)
    assert profile.usable_flash_bytes == 734_003  # 70 % of 1 MiB
    assert profile.usable_ram_bytes == 260 * 1024
    limits = {limit.resource: (limit.value, limit.origin) for limit in profile.limits()}
    assert limits == {
        Resource.FLASH_BYTES: (734_003, "device_profile"),
        Resource.RAM_BYTES: (260 * 1024, "device_profile"),
    }


def test_usable_memory_of_a_board() -> None:
    profile = devices.get("raspberrypi4")
    assert profile.runtime is Runtime.LITERT
    assert profile.usable_ram_bytes == 2 * 2**30


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_rates_beyond_the_macs(profile: DeviceProfile) -> None:
    if profile.runtime is Runtime.TFLM:  # nothing is published
        assert profile.bytes_per_second == assumed_bytes_per_second(profile.clock_hz) == 4 * profile.clock_hz
        assert "assumed" in profile.source
    else:
        assert profile.bytes_per_second > 1e10
        assert "GB/s" in profile.source
    assert profile.seconds_per_operator == assumed_seconds_per_operator(profile.clock_hz, profile.runtime)
    cycles = 1_000 if profile.runtime is Runtime.TFLM else 5_000
    assert profile.seconds_per_operator * profile.clock_hz == pytest.approx(cycles)


def test_unknown_profile() -> None:
    with pytest.raises(InvalidArgument, match="stm32f746") as caught:
        devices.get("abacus")
    assert caught.value.reason == "DEVICE_PROFILE_UNKNOWN"
    assert caught.value.field == "device_profile"
