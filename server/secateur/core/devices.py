"""Device profiles: classes of hardware, what a model may take of them, and how fast they are.

Memory and flash are those of the data sheets. MAC rates come from published int8 runs of MLPerf Tiny's image classification
(ResNet-8, 12.50 M MACs; results v0.5 to v1.2 of mlcommons) or are derived from the run of a core of the same design by clock;
each profile says which. They are good to about 30 %, and much worse for layers that a library does not accelerate: enough to
plan with, no substitute for a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from secateur.core.errors import InvalidArgument
from secateur.core.resources import Limit, Resource

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB

_USABLE_FLASH_PERCENT: Final = 70
_RESERVED_RAM: Final = 60 * _KIB
_USABLE_RAM_DIVISOR: Final = 2


class Runtime(StrEnum):
    """What runs the model on the device."""

    TFLM = "tflm"
    LITERT = "litert"


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A class of hardware.

    Args:
        id: Stable id, for example "stm32f746".
        title: Name for people.
        clock_hz: Core clock, in hertz.
        flash_bytes: Flash, or storage of a board with an operating system, in bytes.
        ram_bytes: RAM, in bytes.
        macs_per_second: Sustained int8 multiply-accumulates per second.
        runtime: What runs the model.
        source: Where the MAC rate comes from.
    """

    id: str
    title: str
    clock_hz: int
    flash_bytes: int
    ram_bytes: int
    macs_per_second: float
    runtime: Runtime
    source: str

    @property
    def usable_flash_bytes(self) -> int:
        """Flash that a model may take: 70 %, as code and data share it."""
        return self.flash_bytes * _USABLE_FLASH_PERCENT // 100

    @property
    def usable_ram_bytes(self) -> int:
        """RAM that a model may take: all but 60 KiB for stack, runtime and I/O; on an operating system, half."""
        if self.runtime is Runtime.TFLM:
            return self.ram_bytes - _RESERVED_RAM
        return self.ram_bytes // _USABLE_RAM_DIVISOR

    def limits(self) -> tuple[Limit, ...]:
        """Returns what the hardware allows a model to take."""
        return (
            Limit(Resource.FLASH_BYTES, value=self.usable_flash_bytes, origin="device_profile"),
            Limit(Resource.RAM_BYTES, value=self.usable_ram_bytes, origin="device_profile"),
        )

    def predict_latency_ms(self, macs: int) -> float:
        """Returns the predicted time of one inference of a network of `macs` MACs, in milliseconds; good to about 30 %."""
        return macs / self.macs_per_second * 1_000


_MLPERF: Final = "MLPerf Tiny image classification (ResNet-8, int8)"


def _mcu(id: str, title: str, mhz: int, flash: int, ram: int, mega_macs: float, source: str) -> DeviceProfile:  # noqa: A002
    return DeviceProfile(id, title, mhz * 1_000_000, flash, ram, mega_macs * 1e6, Runtime.TFLM, source)


def _board(id: str, title: str, mhz: int, storage: int, ram: int, mega_macs: float, source: str) -> DeviceProfile:  # noqa: A002
    return DeviceProfile(id, title, mhz * 1_000_000, storage, ram, mega_macs * 1e6, Runtime.LITERT, source)


PROFILES: Final[dict[str, DeviceProfile]] = {
    profile.id: profile
    for profile in (
        _mcu("esp32-s3", "ESP32-S3 (Xtensa LX7, 240 MHz)", 240, 8 * _MIB, 512 * _KIB, 133.0,
             "espressif/esp-tflite-micro: person detection (about 7.16 M MACs) in 54 ms with ESP-NN"),
        _mcu("nrf52840", "nRF52840, Arduino Nano 33 BLE Sense (Cortex-M4F, 64 MHz)", 64, _MIB, 256 * _KIB, 17.0,
             f"derived by clock from {_MLPERF} on STM32L4R5 with CMSIS-NN"),
        _mcu("nrf5340", "nRF5340 (Cortex-M33, 128 MHz)", 128, _MIB, 512 * _KIB, 39.5,
             f"{_MLPERF}, microTVM: 316 ms"),
        _mcu("rp2040", "RP2040, Raspberry Pi Pico (Cortex-M0+, 133 MHz)", 133, 2 * _MIB, 264 * _KIB, 17.0,
             f"derived by clock from {_MLPERF} v1.2 on STM32G0B1; one core"),
        _mcu("stm32f746", "STM32F746 Discovery (Cortex-M7, 216 MHz)", 216, _MIB, 320 * _KIB, 199.9,
             f"{_MLPERF} v1.2, Bosch HALE: 62.6 ms"),
        _mcu("stm32g0b1", "STM32G0B1 (Cortex-M0+, 64 MHz)", 64, 512 * _KIB, 144 * _KIB, 8.2,
             f"{_MLPERF} v1.2, Bosch HALE: 1,522 ms"),
        _mcu("stm32h743", "STM32H743 (Cortex-M7, 480 MHz)", 480, 2 * _MIB, _MIB, 525.0,
             f"derived by clock from {_MLPERF} on STM32H7A3 with X-CUBE-AI; 130 to 240 M MACs/s with CMSIS-NN"),
        _mcu("stm32h7a3", "STM32H7A3 (Cortex-M7, 280 MHz)", 280, 2 * _MIB, 1_434 * _KIB, 306.0,
             f"{_MLPERF}, X-CUBE-AI: 40.8 ms"),
        _mcu("stm32l4r5", "STM32L4R5 (Cortex-M4F, 120 MHz)", 120, 2 * _MIB, 640 * _KIB, 32.1,
             f"{_MLPERF}, microTVM with CMSIS-NN: 390 ms; 704 ms with reference kernels, 165 ms with X-CUBE-AI"),
        _mcu("stm32u575", "STM32U575 (Cortex-M33, 160 MHz)", 160, 2 * _MIB, 768 * _KIB, 112.6,
             f"{_MLPERF} v1.2, X-CUBE-AI: 111 ms"),
        _board("raspberrypi4", "Raspberry Pi 4 (Cortex-A72, 1.5 GHz), 4 GB", 1_500, 16 * _GIB, 4 * _GIB, 11_700.0,
               f"{_MLPERF} v0.5, LEIP 1.9.3: 1.071 ms"),
        _board("raspberrypi5", "Raspberry Pi 5 (Cortex-A76, 2.4 GHz), 8 GB", 2_400, 16 * _GIB, 8 * _GIB, 56_000.0,
               "derived from raspberrypi4 by the ratio of LiteRT times of SSD MobileNet on the two "
               "(aallan/benchmarking-ml-on-the-edge: 112.6 and 23.5 ms)"),
    )
}  # fmt: skip
"""Built-in device profiles by id."""


def get(profile_id: str) -> DeviceProfile:
    """Returns the device profile of an id.

    Raises:
        InvalidArgument: DEVICE_PROFILE_UNKNOWN, naming the known ones.
    """
    if profile_id not in PROFILES:
        raise InvalidArgument(
            "DEVICE_PROFILE_UNKNOWN",
            f"There is no device profile of that id; known: {', '.join(sorted(PROFILES))}. Received: {profile_id}",
            field="device_profile",
        )
    return PROFILES[profile_id]
