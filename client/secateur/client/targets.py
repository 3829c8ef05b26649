"""What the caller asks for: budgets, targets and architectures of the zoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Final, Protocol, Required, TypedDict

from secateur.client import units
from secateur.client.errors import UsageError
from secateur.client.values import HybridPolicy, Limit, SearchPolicy

Amount = str | float | None
"""A bound as people write it: a number, or a number with a unit such as "64KiB"; None for no bound."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits that must all hold.

    Every limit but accuracy is an upper bound, and may be relative: "50%" of the unpruned network.

    Args:
        parameters: Weights, a count: 50000, "50k" or "50%".
        macs: Multiply-accumulates of one inference, a count.
        flops: Floating-point operations of one inference, a count; 2 x MACs.
        memory: Weights plus every feature map at 32 bit: bytes, "1MiB" or "50%".
        activation: Every feature map at 32 bit: bytes, "1MiB" or "50%".
        flash: Size of the int8 file: bytes, "64KiB" or "50%".
        ram: Peak working memory of one inference: bytes, "40KiB" or "50%".
        latency: Time of one inference: milliseconds, "20ms" or "50%".
        accuracy: Floor of the top-1 accuracy of the int8 file: 0.95 or "95%".

    Raises:
        UsageError: If a bound cannot be read, or is not above zero.
    """

    parameters: Amount = None
    macs: Amount = None
    flops: Amount = None
    memory: Amount = None
    activation: Amount = None
    flash: Amount = None
    ram: Amount = None
    latency: Amount = None
    accuracy: Amount = None

    def __post_init__(self) -> None:
        _ = self.limits  # raises what is wrong where it is written, not where it is sent

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that are set, absolute or as a fraction."""
        return tuple(_limit(field, amount) for field in _RESOURCES if (amount := getattr(self, field)) is not None)


@dataclass(frozen=True)
class Target(Budget):
    """A device class and what the model may cost there; of a limit that both give the tighter one counts.

    Args:
        profile: Device profile, for example "stm32f746", or the id of one that the project has added; empty for none.

    Raises:
        UsageError: If there is neither a profile nor a limit, or a bound cannot be read.
    """

    profile: str = ""

    def __post_init__(self) -> None:
        if not self.limits and not self.profile:
            raise UsageError(
                "BUDGET_EMPTY",
                "A target needs a device profile or at least one limit. "
                f"Received: none; accepted limits: {', '.join(_RESOURCES)}",
                field="target",
            )


@dataclass(frozen=True, slots=True)
class Zoo:
    """A network of the service's built-in zoo.

    Args:
        name: Zoo name, for example "resnet20".
        input_shape: Shape of the input without the batch: height, width, channels.
        classes: Number of classes.

    Raises:
        UsageError: If the shape does not have three positive sizes, or there are fewer than two classes.
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: int

    def __post_init__(self) -> None:
        shape = self.input_shape
        if not isinstance(shape, Sequence) or len(shape) != 3 or not all(_at_least(1, size) for size in shape):
            raise UsageError(
                "INPUT_SHAPE_INVALID",
                "An input shape has three sizes, whole numbers above zero: height, width, channels, for example (32, 32, 3). "
                f"Received: {shape!r}",
                field="input_shape",
            )
        if not _at_least(2, self.classes):
            raise UsageError(
                "CLASSES_INVALID", f"A classifier has at least two classes. Received: {self.classes!r}", field="classes"
            )


class Planning(TypedDict, total=False):
    """How to plan: keyword arguments of `quote` and `submit`. What is left out, or None, is the service's default.

    Args:
        mode: What decides where to cut: "device" (every limit at once, the default), "parameters", "flops", "memory" or
            "activation"; "hybrid" (depth and width together, weights inherited); or a baseline, "uniform" (all groups alike)
            or "stock" (a smaller network of the same zoo family).
        step: Share of a group's channels that one step removes, above 0 and below 1; 0.1 by default.
        round_to: Kept widths are multiples of this; 1 by default.
        min_width: Smallest width of any group; 4 by default.
        residual: What happens to groups that take part in a residual addition: "skip" (they stay, the default) or "coupled"
            (they are cut together).
        temperature: Groups are drawn with a probability in proportion to their share to this power, 0 to 4: 1 is the default,
            0 draws all alike.
        hybrid: How mode "hybrid" decides what stays; for that mode only.
        search: Draw many plans in a job and choose among them. Not with "uniform", "stock" and "hybrid", which draw nothing;
            a quote shows the first plan.
        literal: Follow the paper to the letter: no smallest width, no rounding, and the last step may overshoot. For
            "parameters", "flops", "memory" and "activation".
    """

    mode: str | None
    step: float | None
    round_to: int | None
    min_width: int | None
    residual: str | None
    temperature: float | None
    hybrid: HybridPolicy | None
    search: SearchPolicy | None
    literal: bool


class Hardware(TypedDict, total=False):
    """What a class of hardware is like: keyword arguments of `add_device_profile`.

    The time of an inference is predicted operator by operator: the longer of its multiply-accumulates and its bytes, and the
    runtime's overhead on top.

    Args:
        flash: Flash, or storage of a board with an operating system: bytes or "1MiB".
        ram: RAM: bytes or "320KiB".
        clock: Core clock: hertz or "216MHz".
        macs_per_second: Int8 multiply-accumulates per second of an operator that does not wait for memory: 2e8 or "200M".
        runtime: What runs the model: "tflm" (TensorFlow Lite for Microcontrollers, the default) or "litert".
        bandwidth: Bytes per second of an operator that does wait for memory: a number or "100MB". One 32-bit word per cycle by
            default.
        overhead: What the runtime adds to every operator: milliseconds or "5us". 1,000 cycles by default, 5,000 with "litert".
        display_name: Name for people; the id by default.
        source: Where the figures come from.
    """

    flash: Required[str | float]
    ram: Required[str | float]
    clock: Required[str | float]
    macs_per_second: Required[str | float]
    runtime: str
    bandwidth: str | float | None
    overhead: str | float | None
    display_name: str
    source: str


def _at_least(least: int, value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= least


def _limit(field: str, amount: str | float) -> Limit:
    resource, parse = _RESOURCES[field]
    if resource != "accuracy" and units.is_relative(amount):
        return Limit(resource, fraction=units.parse_fraction(amount, field=field))
    return Limit(resource, value=parse(amount, field=field))


class _Parser(Protocol):
    def __call__(self, text: str | float, *, field: str = "") -> float: ...


_RESOURCES: Final[Mapping[str, tuple[str, _Parser]]] = {
    "parameters": ("parameters", units.parse_count),
    "macs": ("macs", units.parse_count),
    "flops": ("flops", units.parse_count),
    "memory": ("memory_bytes", units.parse_bytes),
    "activation": ("activation_bytes", units.parse_bytes),
    "flash": ("flash_bytes", units.parse_bytes),
    "ram": ("ram_bytes", units.parse_bytes),
    "latency": ("latency_ms", units.parse_milliseconds),
    "accuracy": ("accuracy", units.parse_fraction),
}
"""Resource and parser of every field of a budget."""
