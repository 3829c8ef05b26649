"""Typed, range-checked layer arguments, normalised so that equal networks have equal configurations."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

MALFORMED: Final = "ARCHITECTURE_MALFORMED"
UNSUPPORTED: Final = "LAYER_UNSUPPORTED"
TOO_LARGE: Final = "ARCHITECTURE_TOO_LARGE"

MAX_CHANNELS: Final = 100_000
"""Most filters or units of one layer."""
MAX_WINDOW: Final = 1_024
"""Largest kernel, pool, stride, dilation or padding along one axis."""
MAX_RANK: Final = 3
"""Most axes of a tensor, without the batch."""
MAX_SCALAR: Final = 1e9
"""Largest magnitude of a floating-point argument."""
REQUIRED: Final = object()
"""Default of an argument that has none."""

ACTIVATIONS: Final = frozenset(
    {
        "linear", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "hard_silu", "mish", "softplus",
        "softsign", "squareplus", "soft_shrink", "hard_shrink", "tanh_shrink", "sparse_plus", "threshold", "exponential",
        "sigmoid", "hard_sigmoid", "log_sigmoid", "sparse_sigmoid", "tanh", "hard_tanh", "softmax", "log_softmax", "sparsemax",
    }
)  # fmt: skip
"""Keras's activations but for `glu`, which halves the channels."""
_ACTIVATION_ALIASES: Final = {"swish": "silu", "hard_swish": "hard_silu"}

Parse = Callable[[Any], Any]

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 130  # whole layer names


class LayerError(Exception):
    """What is wrong with a layer, before the layer's name is known. The caller turns it into an `InvalidArgument`.

    Args:
        reason: `MALFORMED`, `UNSUPPORTED` or `TOO_LARGE`.
        text: The rest of a sentence that starts with the layer's name.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a Keras layer.

    Args:
        parse: Returns the normalised value, or raises `LayerError` with the rest of the sentence "<argument> ...".
        default: Keras's own default, normalised; `REQUIRED` if there is none.
        kept: Whether it stays in the configuration; false for arguments of which only one value is supported.
    """

    parse: Parse
    default: Any = REQUIRED
    kept: bool = True


def show(value: object) -> str:
    """Returns a short representation of a client's value, whatever its size and depth."""
    return _short.repr(value)


def boolean(value: Any) -> bool:
    """Parses true or false."""
    if not isinstance(value, bool):
        raise LayerError(MALFORMED, f"must be true or false. Received: {show(value)}")
    return value


def integer(low: int, high: int) -> Parse:
    """Returns a parser of whole numbers from `low` to `high`. Booleans and floats are not whole numbers here."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise LayerError(MALFORMED, f"must be a whole number of at least {low}. Received: {show(value)}")
        if value > high:
            raise LayerError(TOO_LARGE, f"may be at most {high}. Received: {show(value)}")
        return value

    return parse


def number(low: float = -MAX_SCALAR, high: float = MAX_SCALAR, *, below: float = math.inf) -> Parse:
    """Returns a parser of finite numbers from `low` to `high`, and less than `below`."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LayerError(MALFORMED, f"must be a number. Received: {show(value)}")
        if not (low <= value <= high and value < below):  # also false for NaN
            raise LayerError(MALFORMED, f"must lie between {low:g} and {min(high, below):g}. Received: {show(value)}")
        return float(value)

    return parse


def optional(parse: Parse) -> Parse:
    """Returns a parser that also takes null."""
    return lambda value: None if value is None else parse(value)


def choice(*names: str) -> Parse:
    """Returns a parser of one of several names."""

    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise LayerError(MALFORMED, f"must be one of {', '.join(names)}. Received: {show(value)}")
        if value not in names:
            raise LayerError(UNSUPPORTED, f"must be one of {', '.join(names)}. Received: {show(value)}")
        return value

    return parse


def channels_last(value: Any) -> str:
    """Parses the layout of images. `layouts` has turned channels first into channels last before."""
    if value != "channels_last":
        raise LayerError(UNSUPPORTED, f"must be channels_last or channels_first. Received: {show(value)}")
    return "channels_last"


def window(rank: int = 2, low: int = 1) -> Parse:
    """Returns a parser of a size per spatial axis: n or a list of `rank` sizes, normalised to the list."""
    side = integer(low, MAX_WINDOW)

    def parse(value: Any) -> list[int]:
        if isinstance(value, int) and not isinstance(value, bool):
            return [side(value)] * rank
        if not isinstance(value, list | tuple) or len(value) != rank:
            raise LayerError(MALFORMED, f"must be a whole number or a list of {rank}. Received: {show(value)}")
        return [side(item) for item in value]

    return parse


def side(low: int = 1) -> Parse:
    """Returns a parser of a size along the one spatial axis: n or [n], normalised to n."""
    pair = window(1, low)
    return lambda value: pair(value)[0]


def margin(value: Any) -> list[int]:
    """Parses what is added to, or taken from, both ends of one axis: n or [before, after], normalised to the last."""
    return list(window(2, 0)(value))


def margins(value: Any) -> list[list[int]]:
    """Parses a margin: n, [rows, columns] or [[top, bottom], [left, right]], normalised to the last."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return [margin(item) for item in value]
    if isinstance(value, int):
        return [margin(value), margin(value)]
    raise LayerError(MALFORMED, f"must be a whole number, a pair, or a pair of pairs. Received: {show(value)}")


def numbers(value: Any) -> float | list[float]:
    """Parses a number, or a list with one number per channel. Singleton lists around that list are taken off."""
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    parse = number()
    if not isinstance(value, list | tuple):
        return float(parse(value))
    if not 0 < len(value) <= MAX_CHANNELS:
        raise LayerError(MALFORMED, f"must hold 1 to {MAX_CHANNELS} numbers. Received: {len(value)}")
    return [parse(item) for item in value]


def dimensions(max_rank: int, max_elements: int, *, low: int = 1) -> Parse:
    """Returns a parser of a fixed shape without the batch."""
    side = integer(low, max_elements)

    def parse(value: Any) -> list[int]:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= max_rank:
            raise LayerError(MALFORMED, f"must be a list of 1 to {max_rank} sizes. Received: {show(value)}")
        if None in value:
            raise LayerError(UNSUPPORTED, f"must have fixed sizes, as devices plan their memory ahead. Received: {show(value)}")
        return [side(item) for item in value]

    return parse


def activation(value: Any) -> str:
    """Parses the name of an activation; null is "linear", and older names become today's."""
    if value is None:
        return "linear"
    if isinstance(value, dict):  # Keras writes functions by name, and layers or custom functions as objects
        raise LayerError(UNSUPPORTED, f"must be given by name; use a layer of its own for it. Received: {show(value)}")
    name = _ACTIVATION_ALIASES.get(value, value) if isinstance(value, str) else value
    return str(choice(*sorted(ACTIVATIONS))(name))


def axis(value: Any) -> int:
    """Parses one axis of a tensor, the batch being axis 0: n or [n]. What it may be is checked with the shapes."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int):
        raise LayerError(MALFORMED, f"must be a whole number. Received: {show(value)}")
    return value


def axes(value: Any) -> int | list[int]:
    """Parses any number of axes; a single one is normalised to a number."""
    if isinstance(value, list | tuple) and len(value) != 1 and len(value) <= MAX_RANK:
        return [axis(item) for item in value]
    return axis(value)


def permutation(value: Any) -> list[int]:
    """Parses an order of the axes 1 to n."""
    if not isinstance(value, list | tuple) or len(value) > MAX_RANK:
        raise LayerError(MALFORMED, f"must be a list of axes. Received: {show(value)}")
    order = [axis(item) for item in value]
    if sorted(order) != list(range(1, len(order) + 1)):
        raise LayerError(MALFORMED, f"must name every axis once, starting from 1. Received: {show(value)}")
    return order
