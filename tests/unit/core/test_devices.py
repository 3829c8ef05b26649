"""Device profiles: what a model may take, and how fast it will be."""

from __future__ import annotations

import pytest

from secateur.core import devices
from secateur.core.devices import PROFILES, DeviceProfile, Runtime
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


@pytest.mark.parametrize(
    ("profile", "milliseconds"),
    [("stm32f746", 62.6), ("stm32l4r5", 390), ("stm32h7a3", 40.8), ("stm32u575", 111), ("stm32g0b1", 1522), ("nrf5340", 316),
     ("raspberrypi4", 1.071)],
)  # fmt: skip
def test_latency_of_the_network_that_was_measured(profile: str, milliseconds: float) -> None:
    """MLPerf Tiny's ResNet-8 has 12.50 M MACs."""
    assert devices.get(profile).predict_latency_ms(12_500_000) == pytest.approx(milliseconds, rel=0.01)


def test_unknown_profile() -> None:
    with pytest.raises(InvalidArgument, match="stm32f746") as caught:
        devices.get("abacus")
    assert caught.value.reason == "DEVICE_PROFILE_UNKNOWN"
    assert caught.value.field == "device_profile"
