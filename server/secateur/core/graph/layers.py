"""The one table of supported Keras layers: their arguments and shapes.

A layer that is not in `OPERATIONS` is refused; so is an argument that is not listed here, unless it only matters in training
(`TRAINING_ONLY`) or is switched off. What remains is exactly what `getattr(keras.layers, op)(name=..., **config)` accepts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from secateur.core.graph import arguments as args
from secateur.core.graph import shapes
from secateur.core.graph.arguments import REQUIRED, Argument, LayerError
from secateur.core.graph.ir import Shape

MAX_INPUTS: Final = 256
"""Most inputs of one merge."""
MAX_ELEMENTS: Final = 2**26
"""Most values of one tensor, without the batch."""
TRAINING_ONLY: Final = frozenset(
    {
        "name", "trainable", "dtype", "autocast", "seed", "noise_shape", "activity_regularizer",
        "kernel_initializer", "kernel_regularizer", "kernel_constraint",
        "bias_initializer", "bias_regularizer", "bias_constraint",
        "depthwise_initializer", "depthwise_regularizer", "depthwise_constraint",
        "pointwise_initializer", "pointwise_regularizer", "pointwise_constraint",
        "beta_initializer", "beta_regularizer", "beta_constraint",
        "gamma_initializer", "gamma_regularizer", "gamma_constraint",
        "moving_mean_initializer", "moving_variance_initializer", "renorm_momentum",
    }
)  # fmt: skip
"""Arguments that are dropped: the recipe decides them, or they do not change the network."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What we know of one Keras layer.

    Args:
        arguments: Accepted arguments by name.
        infer: Shape of the output.
        inputs: Fewest and most inputs.
        produces: Argument that sets the number of output channels; empty for layers that take it from their input.
    """

    arguments: Mapping[str, Argument]
    infer: shapes.Infer
    inputs: tuple[int, int] = (1, 1)
    produces: str = ""


def normalise(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> tuple[dict[str, Any], Shape]:
    """Checks the arguments of a layer call and infers its output.

    Args:
        op: Keras class name.
        config: Arguments as received.
        inputs: Shapes that the layer receives.

    Returns:
        The arguments in normal form, every default filled in, and the output shape.

    Raises:
        LayerError: If the layer or an argument is not supported, wrong, or too large.
    """
    operation = operation_of(op)
    fewest, most = operation.inputs
    if not fewest <= len(inputs) <= most:
        raise LayerError(args.MALFORMED, f"takes {_count(fewest, most)}. Received: {len(inputs)}")
    parsed = _parse(operation, config)
    _check_together(op, parsed, inputs)
    return parsed, infer(op, parsed, inputs)


def infer(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
    """Returns the output shape of a layer whose arguments are in normal form.

    Raises:
        LayerError: If the inputs do not fit the layer or the output is too large.
    """
    output = OPERATIONS[op].infer(config, inputs)
    if math.prod(output) > MAX_ELEMENTS:
        raise LayerError(
            args.TOO_LARGE, f"would return more than {MAX_ELEMENTS} values. Received: shape {args.show(list(output))}"
        )
    return output


def operation_of(op: str) -> Operation:
    """Returns the table's row for a Keras class name. Raises LayerError if there is none."""
    if op not in OPERATIONS:
        raise LayerError(args.UNSUPPORTED, f"is of a kind that is not supported. Supported: {', '.join(sorted(OPERATIONS))}")
    return OPERATIONS[op]


def kernel_values(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> int:
    """Returns about how many values a layer's kernels hold, rather too many, to refuse absurd networks by."""
    if "kernel_size" not in config and op != "Dense":
        return 0
    outputs = config.get(OPERATIONS[op].produces, 1) * config.get("depth_multiplier", 1)
    return int(math.prod(config.get("kernel_size", ())) * inputs[0][-1] * outputs)


def _count(fewest: int, most: int) -> str:
    if fewest == most:
        return f"{fewest} input" if fewest == 1 else f"{fewest} inputs"
    return f"{fewest} to {most} inputs"


def _parse(operation: Operation, config: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in config.items():
        if key not in operation.arguments and key not in TRAINING_ONLY and value not in (None, False):
            raise LayerError(
                args.UNSUPPORTED, f"has an argument that is not supported. Received: {args.show(key)}={args.show(value)}"
            )
    parsed = {}
    for name, argument in operation.arguments.items():
        value = config.get(name)
        if value is None:  # Keras, too, takes null for "the default"
            value = argument.default
        if value is REQUIRED:
            raise LayerError(args.MALFORMED, f"needs the argument {name}")
        try:
            value = argument.parse(value)
        except LayerError as refusal:
            raise LayerError(refusal.reason, f"is wrong: {name} {refusal.text}") from None
        if argument.kept:
            parsed[name] = value
    return parsed


def _check_together(op: str, config: dict[str, Any], inputs: Sequence[Shape]) -> None:
    """Checks what concerns several arguments, or arguments and inputs, and fills in what follows from others."""
    if "axis" in config:
        rank = len(inputs[0])
        if config["axis"] not in (-1, rank):
            raise LayerError(args.UNSUPPORTED, f"must work along the channels, axis -1. Received: axis={config['axis']}")
        config["axis"] = -1
    if "pool_size" in config and config["strides"] is None:
        config["strides"] = list(config["pool_size"])
    strides, dilation = config.get("strides", [1, 1]), config.get("dilation_rate", [1, 1])
    if max(strides) > 1 and max(dilation) > 1:
        raise LayerError(
            args.UNSUPPORTED, f"may not be both strided and dilated. Received: strides={strides}, dilation_rate={dilation}"
        )
    if op in ("DepthwiseConv2D", "SeparableConv2D") and strides[0] != strides[1]:
        raise LayerError(args.UNSUPPORTED, f"needs equal strides in both directions. Received: strides={strides}")


# The table -----------------------------------------------------------------------------------------------------------------

_CHANNELS_LAST = Argument(args.channels_last, "channels_last", kept=False)
_WIDTH = Argument(args.integer(1, args.MAX_CHANNELS))
_BIAS = Argument(args.boolean, default=True)
_ACTIVATION = Argument(args.activation, "linear")
_PADDING = Argument(args.choice("valid", "same"), "valid")
_ONES = Argument(args.window(), 1)
_AXIS = Argument(args.last_axis, -1)
_SLOPE = args.number(0)
_RATE = Argument(args.number(0, below=1))

_SLIDING = {
    "kernel_size": Argument(args.window()),
    "strides": _ONES,
    "padding": _PADDING,
    "data_format": _CHANNELS_LAST,
    "dilation_rate": _ONES,
    "activation": _ACTIVATION,
    "use_bias": _BIAS,
}
_MULTIPLIER = Argument(args.integer(1, args.MAX_CHANNELS), 1)
_ONE_GROUP = Argument(args.integer(1, 1), 1, kept=False)  # Keras 2 writes it for every convolution
_POOL = Operation(
    {
        "pool_size": Argument(args.window(), 2),
        "strides": Argument(args.optional(args.window()), None),
        "padding": _PADDING,
        "data_format": _CHANNELS_LAST,
    },
    shapes.pool,
)
_GLOBAL_POOL = Operation({"keepdims": Argument(args.boolean, default=False), "data_format": _CHANNELS_LAST}, shapes.global_pool)
_MERGE = Operation({}, shapes.merge, inputs=(2, MAX_INPUTS))

OPERATIONS: Final[Mapping[str, Operation]] = {
    "InputLayer": Operation({"shape": Argument(args.dimensions(3, MAX_ELEMENTS))}, shapes.source, inputs=(0, 0)),
    "Conv2D": Operation(
        {"filters": _WIDTH, **_SLIDING, "groups": Argument(args.integer(1, args.MAX_CHANNELS), 1)},
        shapes.conv,
        produces="filters",
    ),
    "DepthwiseConv2D": Operation({**_SLIDING, "depth_multiplier": _MULTIPLIER, "groups": _ONE_GROUP}, shapes.depthwise),
    "SeparableConv2D": Operation(
        {"filters": _WIDTH, **_SLIDING, "depth_multiplier": _MULTIPLIER, "groups": _ONE_GROUP},
        shapes.conv,
        produces="filters",
    ),
    "Dense": Operation({"units": _WIDTH, "activation": _ACTIVATION, "use_bias": _BIAS}, shapes.dense, produces="units"),
    "BatchNormalization": Operation(
        {
            "axis": _AXIS,
            "momentum": Argument(args.number(0, 1), 0.99),
            "epsilon": Argument(args.number(0, 1), 0.001),
            "center": Argument(args.boolean, default=True),
            "scale": Argument(args.boolean, default=True),
        },
        shapes.same,
    ),
    "Activation": Operation({"activation": Argument(args.activation)}, shapes.same),
    "ReLU": Operation(
        {
            "max_value": Argument(args.optional(args.number(0)), None),
            "negative_slope": Argument(_SLOPE, 0.0),
            "threshold": Argument(args.number(0), 0.0),
        },
        shapes.same,
    ),
    "LeakyReLU": Operation({"negative_slope": Argument(_SLOPE, 0.3)}, shapes.same),
    "ELU": Operation({"alpha": Argument(_SLOPE, 1.0)}, shapes.same),
    "Softmax": Operation({"axis": _AXIS}, shapes.same),
    "Add": _MERGE,
    "Subtract": Operation({}, shapes.merge, inputs=(2, 2)),
    "Multiply": _MERGE,
    "Average": _MERGE,
    "Maximum": _MERGE,
    "Minimum": _MERGE,
    "Concatenate": Operation({"axis": _AXIS}, shapes.concatenate, inputs=(2, MAX_INPUTS)),
    "MaxPooling2D": _POOL,
    "AveragePooling2D": _POOL,
    "GlobalAveragePooling2D": _GLOBAL_POOL,
    "GlobalMaxPooling2D": _GLOBAL_POOL,
    "Flatten": Operation({"data_format": _CHANNELS_LAST}, shapes.flatten),
    "Reshape": Operation({"target_shape": Argument(args.dimensions(3, MAX_ELEMENTS, low=-1))}, shapes.reshape),
    "Dropout": Operation({"rate": _RATE}, shapes.same),
    "SpatialDropout2D": Operation({"rate": _RATE, "data_format": _CHANNELS_LAST}, shapes.same),
    "ZeroPadding2D": Operation(
        {
            "padding": Argument(args.margins, 1),
            "data_format": Argument(args.choice("channels_last", "channels_first"), "channels_last"),
        },
        shapes.pad,
    ),
    "UpSampling2D": Operation(
        {
            "size": Argument(args.window(), 2),
            "data_format": _CHANNELS_LAST,
            "interpolation": Argument(args.choice("nearest", "bilinear"), "nearest"),
        },
        shapes.upsample,
    ),
    "Rescaling": Operation({"scale": Argument(args.number()), "offset": Argument(args.number(), 0.0)}, shapes.same),
}
"""Supported layers by Keras class name."""
