"""The one table of supported Keras layers: their arguments and shapes.

A layer that is not in `OPERATIONS` is refused; so is an argument that is not listed here, unless it only matters in training
(`TRAINING_ONLY`) or is switched off. What remains is exactly what `getattr(keras.layers, op)(name=..., **config)` accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from secateur.core.graph import arguments as args
from secateur.core.graph import shapes
from secateur.core.graph.arguments import Argument
from secateur.core.graph.ir import Shape

MAX_INPUTS: Final = 256
"""Most inputs of one merge."""
MAX_ELEMENTS: Final = 2**26
"""Most values of one tensor, without the batch."""
TRAINING_ONLY: Final = frozenset(
    {
        "name", "trainable", "dtype", "autocast", "seed", "noise_shape", "activity_regularizer", "l1", "l2",
        "kernel_initializer", "kernel_regularizer", "kernel_constraint",
        "bias_initializer", "bias_regularizer", "bias_constraint",
        "depthwise_initializer", "depthwise_regularizer", "depthwise_constraint",
        "pointwise_initializer", "pointwise_regularizer", "pointwise_constraint",
        "alpha_initializer", "alpha_regularizer", "alpha_constraint",
        "beta_initializer", "beta_regularizer", "beta_constraint",
        "gamma_initializer", "gamma_regularizer", "gamma_constraint",
        "moving_mean_initializer", "moving_variance_initializer", "renorm_momentum",
    }
)  # fmt: skip
"""Arguments that are dropped: the recipe decides them, or they do not change the network."""
RESIDUAL_MERGES: Final = frozenset({"Add", "Subtract", "Average", "Maximum", "Minimum"})
"""Value-by-value merges of a shortcut with a branch."""
MERGES: Final = RESIDUAL_MERGES | {"Multiply"}
"""All value-by-value merges."""


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


_CHANNELS_LAST = Argument(args.channels_last, "channels_last", kept=False)
_LAYOUT = {"data_format": _CHANNELS_LAST}
_WIDTH = Argument(args.integer(1, args.MAX_CHANNELS))
_COUNT = args.integer(1, args.MAX_CHANNELS)
_YES = Argument(args.boolean, default=True)
_NO = Argument(args.boolean, default=False)
_ACTIVATION = Argument(args.activation, "linear")
_PADDING = Argument(args.choice("valid", "same"), "valid")
_AXIS = Argument(args.axis, -1)
_SLOPE = args.number(0)
_SHARE = args.number(0, 1)
_EPSILON = Argument(_SHARE, 0.001)
_RATE = Argument(args.number(0, below=1))
_ONE_GROUP = Argument(args.integer(1, 1), 1, kept=False)  # Keras 2 writes it for every convolution


def _sliding(rank: int, *paddings: str) -> dict[str, Argument]:
    """Returns the arguments that all convolutions over `rank` axes have."""
    return {
        "kernel_size": Argument(args.window(rank)),
        "strides": Argument(args.window(rank), 1),
        "padding": Argument(args.choice("valid", "same", *paddings), "valid"),
        "data_format": _CHANNELS_LAST,
        "dilation_rate": Argument(args.window(rank), 1),
        "activation": _ACTIVATION,
        "use_bias": _YES,
    }


def _convolutions(rank: int, *paddings: str) -> dict[str, Operation]:
    multiplier = Argument(_COUNT, 1)
    sliding = _sliding(rank)
    return {
        f"Conv{rank}D": Operation(
            {"filters": _WIDTH, **_sliding(rank, *paddings), "groups": Argument(_COUNT, 1)}, shapes.conv, produces="filters"
        ),
        f"Conv{rank}DTranspose": Operation(
            {
                "filters": _WIDTH,
                **sliding,
                "output_padding": Argument(args.optional(args.window(rank, 0)), None),
                "groups": _ONE_GROUP,
            },
            shapes.transposed,
            produces="filters",
        ),
        f"DepthwiseConv{rank}D": Operation({**sliding, "depth_multiplier": multiplier, "groups": _ONE_GROUP}, shapes.depthwise),
        f"SeparableConv{rank}D": Operation(
            {"filters": _WIDTH, **sliding, "depth_multiplier": multiplier, "groups": _ONE_GROUP},
            shapes.conv,
            produces="filters",
        ),
    }


def _poolings(rank: int) -> dict[str, Operation]:
    local = Operation(
        {
            "pool_size": Argument(args.window(rank), 2),
            "strides": Argument(args.optional(args.window(rank)), None),
            "padding": _PADDING,
            **_LAYOUT,
        },
        shapes.pool,
    )
    whole = Operation({"keepdims": _NO, **_LAYOUT}, shapes.global_pool(rank))
    adaptive = Operation({"output_size": Argument(args.window(rank)), **_LAYOUT}, shapes.adaptive_pool)
    return {
        f"{prefix}{kind}Pooling{rank}D": operation
        for kind in ("Average", "Max")
        for prefix, operation in (("", local), ("Global", whole), ("Adaptive", adaptive))
    }


_SAME = Operation({}, shapes.same)
_MERGE = Operation({}, shapes.merge, inputs=(2, MAX_INPUTS))
_AFFINE = {"center": _YES, "scale": _YES}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "InputLayer": Operation({"shape": Argument(args.dimensions(args.MAX_RANK, MAX_ELEMENTS))}, shapes.source, inputs=(0, 0)),
    **_convolutions(1, "causal"),
    **_convolutions(2),
    "Dense": Operation({"units": _WIDTH, "activation": _ACTIVATION, "use_bias": _YES}, shapes.dense, produces="units"),
    "BatchNormalization": Operation(
        {"axis": _AXIS, "momentum": Argument(_SHARE, 0.99), "epsilon": _EPSILON, **_AFFINE}, shapes.same
    ),
    "LayerNormalization": Operation({"axis": Argument(args.axes, -1), "epsilon": _EPSILON, **_AFFINE}, shapes.same),
    "GroupNormalization": Operation(
        {"groups": Argument(args.integer(-1, args.MAX_CHANNELS), 32), "axis": _AXIS, "epsilon": _EPSILON, **_AFFINE},
        shapes.same,
    ),
    "RMSNormalization": Operation({"axis": _AXIS, "epsilon": Argument(_SHARE, 1e-6)}, shapes.same),
    "UnitNormalization": Operation({"axis": _AXIS}, shapes.same),
    "Normalization": Operation(
        {
            "axis": Argument(args.axes, -1),
            "mean": Argument(args.optional(args.numbers), None),
            "variance": Argument(args.optional(args.numbers), None),
            "invert": _NO,
        },
        shapes.same,
    ),
    "Rescaling": Operation({"scale": Argument(args.numbers), "offset": Argument(args.numbers, 0.0)}, shapes.same),
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
    "PReLU": Operation({"shared_axes": Argument(args.optional(args.axes), None)}, shapes.same),
    "ELU": Operation({"alpha": Argument(_SLOPE, 1.0)}, shapes.same),
    "Softmax": Operation({"axis": _AXIS}, shapes.same),
    **dict.fromkeys(sorted(MERGES - {"Subtract"}), _MERGE),
    "Subtract": Operation({}, shapes.merge, inputs=(2, 2)),
    "Concatenate": Operation({"axis": _AXIS}, shapes.concatenate, inputs=(2, MAX_INPUTS)),
    **_poolings(1),
    **_poolings(2),
    "Flatten": Operation(_LAYOUT, shapes.flatten),
    "Reshape": Operation({"target_shape": Argument(args.dimensions(args.MAX_RANK, MAX_ELEMENTS, low=-1))}, shapes.reshape),
    "Permute": Operation({"dims": Argument(args.permutation)}, shapes.permute),
    "Identity": _SAME,
    "ActivityRegularization": _SAME,
    "GaussianNoise": Operation({"stddev": Argument(args.number(0))}, shapes.same),
    "GaussianDropout": Operation({"rate": _RATE}, shapes.same),
    "AlphaDropout": Operation({"rate": _RATE}, shapes.same),
    "Dropout": Operation({"rate": _RATE}, shapes.same),
    "SpatialDropout1D": Operation({"rate": _RATE}, shapes.same),
    "SpatialDropout2D": Operation({"rate": _RATE, **_LAYOUT}, shapes.same),
    "ZeroPadding1D": Operation({"padding": Argument(args.margin, 1), **_LAYOUT}, shapes.pad_steps),
    "ZeroPadding2D": Operation(
        {
            "padding": Argument(args.margins, 1),
            "data_format": Argument(args.choice("channels_last", "channels_first"), "channels_last"),
        },
        shapes.pad,
    ),
    "Cropping1D": Operation({"cropping": Argument(args.margin, 1)}, shapes.crop),
    "Cropping2D": Operation({"cropping": Argument(args.margins, 0), **_LAYOUT}, shapes.crop),
    "UpSampling1D": Operation({"size": Argument(args.side(), 2)}, shapes.upsample),
    "UpSampling2D": Operation(
        {
            "size": Argument(args.window(), 2),
            "data_format": _CHANNELS_LAST,
            "interpolation": Argument(args.choice("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"), "nearest"),
        },
        shapes.upsample,
    ),
}
"""Supported layers by Keras class name."""


def _by_channels(_: Mapping[str, Any], received: Shape) -> Shape:
    return received[-1:]


def _by_axes(config: Mapping[str, Any], received: Shape) -> Shape:
    return received if isinstance(config["axis"], list) else received[-1:]


def _unshared(config: Mapping[str, Any], received: Shape) -> Shape:
    shared = config["shared_axes"] or ()
    return tuple(1 if axis in shared else size for axis, size in enumerate(received, start=1))


WEIGHTED: Final[Mapping[str, Callable[[Mapping[str, Any], Shape], Shape]]] = {
    **{op: _by_channels for op in OPERATIONS if "Conv" in op},
    "Dense": _by_channels,
    "BatchNormalization": _by_channels,
    "LayerNormalization": _by_axes,
    "GroupNormalization": _by_channels,
    "RMSNormalization": _by_channels,
    "Normalization": _by_channels,
    "PReLU": _unshared,
}
"""Layers with weights: which sizes of the input decide, with the arguments, on the shapes of these."""
