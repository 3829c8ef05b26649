"""Shape inference: what each operation returns for the shapes it receives. Shapes leave the batch out; channels come last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from secateur.core.graph.arguments import MALFORMED, UNSUPPORTED, LayerError
from secateur.core.graph.ir import Shape

Infer = Callable[[Mapping[str, Any], Sequence[Shape]], Shape]


def source(config: Mapping[str, Any], _: Sequence[Shape]) -> Shape:
    """Shape of the network input."""
    return tuple(config["shape"])


def same(_: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of an operation that works value by value."""
    return shapes[0]


def conv(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a convolution with any number of groups."""
    channels = shapes[0][-1]
    groups = config.get("groups", 1)
    if channels % groups or config["filters"] % groups:
        raise LayerError(
            MALFORMED,
            f"has {groups} groups, which must divide both its {channels} input channels and its {config['filters']} filters",
        )
    return (*_slide(config, shapes[0], config["kernel_size"]), config["filters"])


def transposed(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a transposed convolution, as Keras works it out for all backends."""
    kernel: list[int] = config["kernel_size"]
    extra = config["output_padding"] or [None] * len(kernel)
    sides = []
    for size, extent, stride, rate, added in zip(
        _feature_map(shapes[0], len(kernel))[:-1], kernel, config["strides"], config["dilation_rate"], extra, strict=True
    ):
        covered = (extent - 1) * rate + 1
        if config["padding"] == "valid":
            side = (size - 1) * stride + covered + (max(stride - covered, 0) if added is None else added)
        elif added is None:
            side = size * stride
        else:
            side = (size - 1) * stride + covered % 2 + added
        if side < 1:
            raise LayerError(MALFORMED, f"would return nothing for a feature map of {list(shapes[0])}")
        sides.append(side)
    return (*sides, config["filters"])


def depthwise(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a convolution that keeps channels apart."""
    return (*_slide(config, shapes[0], config["kernel_size"]), shapes[0][-1] * config["depth_multiplier"])


def dense(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a dense layer, which works along the last axis."""
    return (*shapes[0][:-1], config["units"])


def pool(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a pooling over windows."""
    return (*_slide(config, shapes[0], config["pool_size"]), shapes[0][-1])


def adaptive_pool(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a pooling to a given size."""
    size: list[int] = config["output_size"]
    return (*size, _feature_map(shapes[0], len(size))[-1])


def global_pool(rank: int) -> Infer:
    """Returns the shape of a pooling over whole feature maps with `rank` spatial axes."""

    def infer(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
        channels = _feature_map(shapes[0], rank)[-1]
        return (*[1] * rank, channels) if config["keepdims"] else (channels,)

    return infer


def flatten(_: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of all values in a row."""
    return (math.prod(shapes[0]),)


def reshape(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of the same values in another arrangement; one size may be -1 and is worked out."""
    target: list[int] = config["target_shape"]
    known = math.prod(size for size in target if size != -1)
    total = math.prod(shapes[0])
    free = target.count(-1)
    if 0 in target or free > 1 or total % known or (not free and total != known):
        raise LayerError(MALFORMED, f"cannot arrange {total} values {list(shapes[0])} as {target}")
    return tuple(total // known if size == -1 else size for size in target)


def permute(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape with the axes in another order."""
    if len(config["dims"]) != len(shapes[0]):
        raise LayerError(MALFORMED, f"cannot bring the axes of {list(shapes[0])} into the order {config['dims']}")
    return tuple(shapes[0][number - 1] for number in config["dims"])


def pad(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape after zero padding.

    Keras pads the two axes behind the first that is not spatial: rows and columns, or with `channels_first` the second and
    third axis whatever they hold. On our channels-last tensors the latter pads columns and *channels*: ResNet's option A.
    """
    first, second = (sum(pair) for pair in config["padding"])
    rows, columns, channels = _feature_map(shapes[0], 2)
    if config["data_format"] == "channels_first":
        return rows, columns + first, channels + second
    return rows + first, columns + second, channels


def pad_steps(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a sequence after zero padding."""
    steps, channels = _feature_map(shapes[0], 1)
    return steps + sum(config["padding"]), channels


def crop(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape after cutting off margins."""
    margins = config["cropping"] if isinstance(config["cropping"][0], list) else [config["cropping"]]
    *sides, channels = _feature_map(shapes[0], len(margins))
    left = [size - sum(pair) for size, pair in zip(sides, margins, strict=True)]
    if min(left) < 1:
        raise LayerError(MALFORMED, f"cuts {margins} off a feature map of only {sides}")
    return (*left, channels)


def upsample(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape after repeating values along the spatial axes."""
    factors = config["size"] if isinstance(config["size"], list) else [config["size"]]
    *sides, channels = _feature_map(shapes[0], len(factors))
    return (*(size * factor for size, factor in zip(sides, factors, strict=True)), channels)


def merge(_: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a value-by-value merge; sizes of 1 stretch as in NumPy."""
    if len({len(shape) for shape in shapes}) > 1:
        raise _differ(shapes)
    merged = []
    for sizes in zip(*shapes, strict=True):
        stretched = set(sizes) - {1}
        if len(stretched) > 1:
            raise _differ(shapes)
        merged.append(max(sizes))
    return tuple(merged)


def concatenate(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a concatenation."""
    along = config["axis"] if config["axis"] < 0 else config["axis"] - 1
    rest = {(len(shape), *shape[:along], *shape[along:][1:]) for shape in shapes}
    if len(rest) > 1:
        raise _differ(shapes)
    joined = list(shapes[0])
    joined[along] = sum(shape[along] for shape in shapes)
    return tuple(joined)


def _differ(shapes: Sequence[Shape]) -> LayerError:
    return LayerError(
        MALFORMED, f"cannot merge inputs of different shapes: {', '.join(str(list(shape)) for shape in shapes[:4])}"
    )


_SPATIAL: Final = {1: "steps and channels", 2: "rows, columns and channels"}


def _feature_map(shape: Shape, rank: int) -> Shape:
    """Returns the shape if it has so many spatial axes, and channels."""
    if len(shape) != rank + 1:
        raise LayerError(UNSUPPORTED, f"needs an input of {_SPATIAL[rank]}. Received: shape {list(shape)}")
    return shape


def _slide(config: Mapping[str, Any], shape: Shape, window: Sequence[int]) -> tuple[int, ...]:
    """Returns the spatial sizes after a window slid over the feature map."""
    sides = _feature_map(shape, len(window))[:-1]
    dilation: Sequence[int] = config.get("dilation_rate", [1] * len(window))
    sizes = []
    for size, extent, stride, rate in zip(sides, window, config["strides"], dilation, strict=True):
        covered = size - rate * (extent - 1) if config["padding"] == "valid" else size  # "same" and "causal" pad
        if covered < 1:
            raise LayerError(MALFORMED, f"slides a window of {list(window)} over a feature map of only {list(sides)}")
        sizes.append(-(-covered // stride))
    return tuple(sizes)
