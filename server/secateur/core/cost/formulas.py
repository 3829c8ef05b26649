"""Closed forms: what a layer costs as a function of its input and output channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from secateur.core.cost.figures import LayerCost
from secateur.core.cost.lifetimes import aligned
from secateur.core.graph import Layer

FLOAT_BYTES: Final = 4
CHANNEL_FLASH_BYTES: Final = 28
"""Per output channel of a quantised kernel: int32 bias (4), float32 scale and int64 zero point of kernel and bias (2 x 12)."""


@dataclass(frozen=True, slots=True)
class Formula:
    """Cost of one layer in its channel counts, everything else (kernel, stride, feature map size) being fixed.

    With c input and d output channels the layer has `pair * (c // groups) * d + per_input * c` weights that multiply and
    `per_output * d` that do not (bias, batch normalisation).

    Args:
        pair: Multiplying weights per pair of an input and an output channel.
        per_input: Multiplying weights per input channel (depthwise kernels).
        per_output: Other weights per output channel.
        groups: Groups of a grouped convolution.
        inner: Channels between the two convolutions of a separable one, per input channel; they are quantised, too.
        positions: Places at which the kernel is applied, and values per output channel.
    """

    pair: int = 0
    per_input: int = 0
    per_output: int = 0
    groups: int = 1
    inner: int = 0
    positions: int = 0

    @property
    def multiplies(self) -> bool:
        """Whether it is a convolution or dense layer."""
        return bool(self.pair or self.per_input)

    def cost(self, inputs: int, outputs: int) -> LayerCost:
        """Returns the cost with `inputs` input and `outputs` output channels."""
        kernel = self.pair * (inputs // self.groups) * outputs + self.per_input * inputs
        parameters = kernel + self.per_output * outputs
        if not self.multiplies:
            return LayerCost(parameters, memory_bytes=FLOAT_BYTES * parameters)
        quantised = outputs + self.inner * inputs
        return LayerCost(
            parameters=parameters,
            macs=self.positions * kernel,
            memory_bytes=FLOAT_BYTES * (parameters + self.positions * outputs),
            flash_bytes=kernel + CHANNEL_FLASH_BYTES * quantised,
            arena_bytes=_prepared(outputs) + _prepared(self.inner * inputs),
        )


def _prepared(channels: int) -> int:
    """Bytes that the interpreter prepares for a quantised kernel: int32 multipliers and int32 shifts, aligned each."""
    return 2 * aligned(4 * channels)


def formula_of(layer: Layer) -> Formula | None:
    """Returns the closed form of a layer with weights; None for one without, which costs nothing by itself."""
    make = _FORMULAS.get(layer.op)
    return make(layer) if make else None


def _conv(layer: Layer) -> Formula:
    return Formula(
        pair=math.prod(layer.config["kernel_size"]),
        per_output=int(layer.config["use_bias"]),
        groups=layer.config["groups"],
        positions=_positions(layer),
    )


def _depthwise(layer: Layer) -> Formula:
    return Formula(
        per_input=math.prod(layer.config["kernel_size"]) * layer.config["depth_multiplier"],
        per_output=int(layer.config["use_bias"]),
        positions=_positions(layer),
    )


def _separable(layer: Layer) -> Formula:
    inner = layer.config["depth_multiplier"]
    return Formula(
        pair=inner,
        per_input=math.prod(layer.config["kernel_size"]) * inner,
        per_output=int(layer.config["use_bias"]),
        inner=inner,
        positions=_positions(layer),
    )


def _dense(layer: Layer) -> Formula:
    return Formula(pair=1, per_output=int(layer.config["use_bias"]), positions=_positions(layer))


def _batch_normalization(layer: Layer) -> Formula:
    # moving mean and moving variance always, gamma and beta where switched on
    return Formula(per_output=2 + layer.config["scale"] + layer.config["center"])


def _positions(layer: Layer) -> int:
    return math.prod(layer.output_shape[:-1])


_FORMULAS: Final[dict[str, Callable[[Layer], Formula]]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
}
