"""Device profiles: classes of hardware, what a model may take of them, and how fast they are.

Memory and flash are those of the data sheets. The time of a network is predicted by a roofline (`secateur.core.cost.latency`):
every operator takes the longer of its multiply-accumulates at `macs_per_second` and its bytes at `bytes_per_second`, and
`seconds_per_operator` on top.

The MAC rates come from published int8 runs of MLPerf Tiny's image classification (ResNet-8, 12.50 M MACs; results v0.5 to
v1.2 of mlcommons) or are derived from the run of a core of the same design by clock; each profile says which. A run tells the
time of the whole network, so the rate is what is left for the MACs once the roofline's other terms are taken off: the
prediction for ResNet-8 is the published time. The rates are good to about 30 %, and much worse for layers that a library does
not accelerate: enough to plan with, no substitute for a measurement.
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

_WORD_BYTES: Final = 4


class Runtime(StrEnum):
    """What runs the model on the device."""

    TFLM = "tflm"
    LITERT = "litert"


_PROCESS_BYTES: Final = 41_000_000
_LOADED_TWICE: Final = 2
"""A process that runs a file on LiteRT takes `_PROCESS_BYTES` for Python and the libraries, and the file and its tensors
twice, because its kernels lay the weights out anew. Measured were 42 to 60 MB for four networks of 0.3 to 9 MB, all within 5 %
of that."""
_CYCLES_PER_OPERATOR: Final = {Runtime.TFLM: 1_000, Runtime.LITERT: 5_000}


def assumed_bytes_per_second(clock_hz: int) -> float:
    """Returns the memory bandwidth to assume of a core for which none is published: one 32-bit word per cycle."""
    return float(_WORD_BYTES * clock_hz)


def assumed_seconds_per_operator(clock_hz: int, runtime: Runtime) -> float:
    """Returns the overhead to assume per operator: 1,000 cycles on TensorFlow Lite Micro, 5,000 on LiteRT.

    An assumption of the order of magnitude of a call through the interpreter and the set-up of a kernel. It matters only for
    networks of many small operators.
    """
    return _CYCLES_PER_OPERATOR[runtime] / clock_hz


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A class of hardware.

    Args:
        id: Stable id, for example "stm32f746".
        title: Name for people.
        clock_hz: Core clock, in hertz.
        flash_bytes: Flash, or storage of a board with an operating system, in bytes.
        ram_bytes: RAM, in bytes.
        macs_per_second: Int8 multiply-accumulates per second of an operator that does not wait for memory.
        bytes_per_second: Bytes of int8 weights and activations per second of an operator that does wait for memory.
        seconds_per_operator: What the runtime adds to every operator, in seconds.
        runtime: What runs the model.
        source: Where the rates come from.
        project: Project that added it; empty if it is built in.
    """

    id: str
    title: str
    clock_hz: int
    flash_bytes: int
    ram_bytes: int
    macs_per_second: float
    bytes_per_second: float
    seconds_per_operator: float
    runtime: Runtime
    source: str
    project: str = ""

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

    def working_memory(self, flash_bytes: int, arena_bytes: int) -> int:
        """Returns the RAM to predict of a model: its arena; on an operating system the memory of a process that runs it.

        Args:
            flash_bytes: Size of its int8 file.
            arena_bytes: Its arena on TensorFlow Lite Micro.
        """
        if self.runtime is Runtime.TFLM:
            return arena_bytes
        return _PROCESS_BYTES + _LOADED_TWICE * (flash_bytes + arena_bytes)

    def limits(self) -> tuple[Limit, ...]:
        """Returns what the hardware allows a model to take."""
        return (
            Limit(Resource.FLASH_BYTES, value=self.usable_flash_bytes, origin="device_profile"),
            Limit(Resource.RAM_BYTES, value=self.usable_ram_bytes, origin="device_profile"),
        )


_MLPERF: Final = "MLPerf Tiny image classification (ResNet-8, int8)"
_RESNET8_MACS: Final = 12_501_632
_RESNET8_OPERATORS: Final = 16
"""Nine convolutions, three additions, pooling, reshape, dense layer, softmax."""
_RESNET8_UNPRODUCTIVE_BYTES: Final = 90_176
"""What additions and pooling, which multiply nothing, read and write. The convolutions wait for no memory on any profile."""
_NO_BANDWIDTH: Final = "memory assumed to move a 32-bit word per cycle"


def _rate(milliseconds: float, bytes_per_second: float, seconds_per_operator: float) -> float:
    """Returns the MAC rate with which the roofline predicts `milliseconds` for ResNet-8."""
    other = _RESNET8_OPERATORS * seconds_per_operator + _RESNET8_UNPRODUCTIVE_BYTES / bytes_per_second
    return _RESNET8_MACS / (milliseconds / 1_000 - other)


def _mcu(id: str, title: str, mhz: int, flash: int, ram: int, milliseconds: float, source: str) -> DeviceProfile:  # noqa: A002
    """Returns the profile of a micro-controller that takes `milliseconds` for ResNet-8."""
    clock = mhz * 1_000_000
    bandwidth, overhead = assumed_bytes_per_second(clock), assumed_seconds_per_operator(clock, Runtime.TFLM)
    rate = _rate(milliseconds, bandwidth, overhead)
    return DeviceProfile(id, title, clock, flash, ram, rate, bandwidth, overhead, Runtime.TFLM, f"{source}; {_NO_BANDWIDTH}")


def _board(
    id: str,  # noqa: A002
    title: str,
    mhz: int,
    storage: int,
    ram: int,
    bandwidth: float,
    milliseconds: float,
    source: str,
) -> DeviceProfile:
    """Returns the profile of a board with an operating system that takes `milliseconds` for ResNet-8."""
    clock = mhz * 1_000_000
    overhead = assumed_seconds_per_operator(clock, Runtime.LITERT)
    rate = _rate(milliseconds, bandwidth, overhead)
    return DeviceProfile(id, title, clock, storage, ram, rate, bandwidth, overhead, Runtime.LITERT, source)


PROFILES: Final[dict[str, DeviceProfile]] = {
    profile.id: profile
    for profile in (
        _mcu("esp32-s3", "ESP32-S3 (Xtensa LX7, 240 MHz)", 240, 8 * _MIB, 512 * _KIB, 54 * 12.50 / 7.16,
             "espressif/esp-tflite-micro: person detection (about 7.16 M MACs) in 54 ms with ESP-NN"),
        _mcu("nrf52840", "nRF52840, Arduino Nano 33 BLE Sense (Cortex-M4F, 64 MHz)", 64, _MIB, 256 * _KIB, 390 * 120 / 64,
             f"derived by clock from {_MLPERF} on STM32L4R5 with CMSIS-NN"),
        _mcu("nrf5340", "nRF5340 (Cortex-M33, 128 MHz)", 128, _MIB, 512 * _KIB, 316,
             f"{_MLPERF}, microTVM: 316 ms"),
        _mcu("rp2040", "RP2040, Raspberry Pi Pico (Cortex-M0+, 133 MHz)", 133, 2 * _MIB, 264 * _KIB, 1_522 * 64 / 133,
             f"derived by clock from {_MLPERF} v1.2 on STM32G0B1; one core"),
        _mcu("stm32f746", "STM32F746 Discovery (Cortex-M7, 216 MHz)", 216, _MIB, 320 * _KIB, 62.6,
             f"{_MLPERF} v1.2, Bosch HALE: 62.6 ms"),
        _mcu("stm32g0b1", "STM32G0B1 (Cortex-M0+, 64 MHz)", 64, 512 * _KIB, 144 * _KIB, 1_522,
             f"{_MLPERF} v1.2, Bosch HALE: 1,522 ms"),
        _mcu("stm32h743", "STM32H743 (Cortex-M7, 480 MHz)", 480, 2 * _MIB, _MIB, 40.8 * 280 / 480,
             f"derived by clock from {_MLPERF} on STM32H7A3 with X-CUBE-AI; 130 to 240 M MACs/s with CMSIS-NN"),
        _mcu("stm32h7a3", "STM32H7A3 (Cortex-M7, 280 MHz)", 280, 2 * _MIB, 1_434 * _KIB, 40.8,
             f"{_MLPERF}, X-CUBE-AI: 40.8 ms"),
        _mcu("stm32l4r5", "STM32L4R5 (Cortex-M4F, 120 MHz)", 120, 2 * _MIB, 640 * _KIB, 390,
             f"{_MLPERF}, microTVM with CMSIS-NN: 390 ms; 704 ms with reference kernels, 165 ms with X-CUBE-AI"),
        _mcu("stm32u575", "STM32U575 (Cortex-M33, 160 MHz)", 160, 2 * _MIB, 768 * _KIB, 111,
             f"{_MLPERF} v1.2, X-CUBE-AI: 111 ms"),
        _board("raspberrypi4", "Raspberry Pi 4 (Cortex-A72, 1.5 GHz), 4 GB", 1_500, 16 * _GIB, 4 * _GIB, 12.8e9, 1.071,
               f"{_MLPERF} v0.5, LEIP 1.9.3: 1.071 ms; bandwidth of its 32-bit LPDDR4-3200: 12.8 GB/s"),
        _board("raspberrypi5", "Raspberry Pi 5 (Cortex-A76, 2.4 GHz), 8 GB", 2_400, 16 * _GIB, 8 * _GIB, 17.1e9,
               1.071 * 23.5 / 112.6,
               "derived from raspberrypi4 by the ratio of LiteRT times of SSD MobileNet on the two "
               "(aallan/benchmarking-ml-on-the-edge: 112.6 and 23.5 ms); bandwidth of its 32-bit LPDDR4X-4267: 17.1 GB/s"),
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
