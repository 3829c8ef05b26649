"""Closed forms: what a layer costs as a function of its input and output channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from secateur.core.cost.figures import LayerCost
from secateur.core.cost.lifetimes import aligned
from secateur.core.graph import Layer, Shape

FLOAT_BYTES: Final = 4
CHANNEL_FLASH_BYTES: Final = 28
"""Per output channel of a quantised kernel: int32 bias (4), float32 scale and int64 zero point of kernel and bias (2 x 12)."""

BIAS_FLASH_BYTES: Final = 16
"""The part of it that is the bias: its scales are those of the input, so each call of a shared kernel has one of its own."""


@dataclass(frozen=True, slots=True)
class Formula:
    """Cost of one layer in its channel counts, everything else (kernel, stride, feature map size) being fixed.

    With c input and d output channels the layer has `pair * (c // groups) * d + per_input * c` weights that multiply and
    `per_output * d` that do not (bias, batch normalisation).

    Args:
        pair: Multiplying weights per pair of an input and an output channel.
        per_input: Multiplying weights per input channel (depthwise kernels).
        per_output: Other weights per output channel.
        fixed: Weights that no channel count changes.
        groups: Groups of a grouped convolution.
        constants: Values per output channel that an operator other than a kernel reads.
        inner: Channels between the two convolutions of a separable one, per input channel; they are quantised, too.
        positions: Values per output channel.
        applications: Places at which the kernel is applied, if they are not the output's.
        shared: Whether the weights are those of another call, and counted there.
    """

    pair: int = 0
    per_input: int = 0
    per_output: int = 0
    fixed: int = 0
    groups: int = 1
    constants: int = 0
    inner: int = 0
    positions: int = 0
    applications: int = 0
    shared: bool = False

    @property
    def multiplies(self) -> bool:
        """Whether it has kernels."""
        return bool(self.pair or self.per_input)

    @property
    def quantises(self) -> bool:
        """Whether it puts kernels into the file, in which each output channel has scales of its own."""
        return self.multiplies and not self.shared

    def cost(self, inputs: int, outputs: int) -> LayerCost:
        """Returns the cost with `inputs` input and `outputs` output channels."""
        kernel = self.pair * (inputs // self.groups) * outputs + self.per_input * inputs
        parameters = 0 if self.shared else kernel + self.per_output * outputs + self.fixed
        if not self.multiplies:
            return LayerCost(parameters, 0, FLOAT_BYTES * parameters, 0 if self.shared else self.constants * outputs, 0)
        return LayerCost(
            parameters,
            (self.applications or self.positions) * kernel,
            FLOAT_BYTES * (parameters + self.positions * outputs),
            BIAS_FLASH_BYTES * outputs if self.shared else kernel + CHANNEL_FLASH_BYTES * (outputs + self.inner * inputs),
            _prepared(outputs) + (_prepared(self.inner * inputs) if self.inner else 0),
        )


def _prepared(channels: int) -> int:
    """Bytes that the interpreter prepares for a quantised kernel: int32 multipliers and int32 shifts, aligned each."""
    return 2 * aligned(4 * channels)


def formula_of(layer: Layer, received: Shape) -> Formula | None:
    """Returns the closed form of a layer with weights; None for one without, which costs nothing by itself.

    Args:
        layer: The layer.
        received: Shape of its input.
    """
    make = _FORMULAS.get(layer.op)
    if make is None:
        return None
    formula = make(layer, received)
    return replace(formula, shared=True) if formula and layer.shares else formula


def _conv(layer: Layer, _: Shape) -> Formula:
    return Formula(
        pair=math.prod(layer.config["kernel_size"]),
        per_output=int(layer.config["use_bias"]),
        groups=layer.config["groups"],
        positions=_positions(layer),
    )


def _transposed(layer: Layer, received: Shape) -> Formula:
    """Every input value is multiplied by the whole kernel, wherever the products are added."""
    return Formula(
        pair=math.prod(layer.config["kernel_size"]),
        per_output=int(layer.config["use_bias"]),
        positions=_positions(layer),
        applications=math.prod(received[:-1]),
    )


def _depthwise(layer: Layer, _: Shape) -> Formula:
    return Formula(
        per_input=math.prod(layer.config["kernel_size"]) * layer.config["depth_multiplier"],
        per_output=int(layer.config["use_bias"]),
        positions=_positions(layer),
    )


def _separable(layer: Layer, _: Shape) -> Formula:
    inner = layer.config["depth_multiplier"]
    return Formula(
        pair=inner,
        per_input=math.prod(layer.config["kernel_size"]) * inner,
        per_output=int(layer.config["use_bias"]),
        inner=inner,
        positions=_positions(layer),
    )


def _dense(layer: Layer, _: Shape) -> Formula:
    return Formula(pair=1, per_output=int(layer.config["use_bias"]), positions=_positions(layer))


def _batch_normalization(layer: Layer, _: Shape) -> Formula:
    # moving mean and moving variance always, gamma and beta where switched on
    return Formula(per_output=2 + layer.config["scale"] + layer.config["center"])


def _affine(layer: Layer, received: Shape) -> Formula:
    axis = layer.config["axis"]
    values = math.prod(received[each - 1] for each in axis[:-1]) if isinstance(axis, list) else 1
    kept = values * (layer.config["scale"] + layer.config["center"])
    return Formula(per_output=kept, constants=kept)


def _root_mean_square(_: Layer, __: Shape) -> Formula:
    return Formula(per_output=1, constants=1)


def _statistics(layer: Layer, _: Shape) -> Formula | None:
    if layer.config["mean"] is not None:
        return None  # given as arguments: there is nothing to adapt
    return Formula(fixed=3) if layer.config["axis"] == [] else Formula(per_output=2, fixed=1, constants=2)


def _slopes(layer: Layer, received: Shape) -> Formula:
    shared = layer.config["shared_axes"] or ()
    values = math.prod(size for axis, size in enumerate(received[:-1], start=1) if axis not in shared)
    return Formula(fixed=values) if len(received) in shared else Formula(per_output=values, constants=values)


def _positions(layer: Layer) -> int:
    return math.prod(layer.output_shape[:-1])


_FORMULAS: Final[dict[str, Callable[[Layer, Shape], Formula | None]]] = {
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Conv1DTranspose": _transposed,
    "Conv2DTranspose": _transposed,
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv1D": _separable,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _affine,
    "GroupNormalization": _affine,
    "RMSNormalization": _root_mean_square,
    "Normalization": _statistics,
    "PReLU": _slopes,
}
