"""Shape inference: what each operation returns for the shapes it receives. Shapes leave the batch out; channels come last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    _, _, channels = _image(shapes[0])
    groups = config.get("groups", 1)
    if channels % groups or config["filters"] % groups:
        raise LayerError(
            MALFORMED,
            f"has {groups} groups, which must divide both its {channels} input channels and its {config['filters']} filters",
        )
    return (*_slide(config, shapes[0], config["kernel_size"]), config["filters"])


def depthwise(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a convolution that keeps channels apart."""
    return (*_slide(config, shapes[0], config["kernel_size"]), shapes[0][-1] * config["depth_multiplier"])


def dense(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a dense layer, which works along the last axis."""
    return (*shapes[0][:-1], config["units"])


def pool(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a pooling over windows."""
    return (*_slide(config, shapes[0], config["pool_size"]), shapes[0][-1])


def global_pool(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a pooling over whole feature maps."""
    channels = _image(shapes[0])[-1]
    return (1, 1, channels) if config["keepdims"] else (channels,)


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


def pad(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape after zero padding.

    Keras pads the two axes behind the first that is not spatial: rows and columns, or with `channels_first` the second and
    third axis whatever they hold. On our channels-last tensors the latter pads columns and *channels*: ResNet's option A.
    """
    first, second = (sum(pair) for pair in config["padding"])
    rows, columns, channels = _image(shapes[0])
    if config["data_format"] == "channels_first":
        return rows, columns + first, channels + second
    return rows + first, columns + second, channels


def upsample(config: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape after repeating rows and columns."""
    rows, columns, channels = _image(shapes[0])
    return rows * config["size"][0], columns * config["size"][1], channels


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


def concatenate(_: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    """Shape of a concatenation along the channels."""
    if len({shape[:-1] for shape in shapes}) > 1:
        raise _differ(shapes)
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _differ(shapes: Sequence[Shape]) -> LayerError:
    return LayerError(
        MALFORMED, f"cannot merge inputs of different shapes: {', '.join(str(list(shape)) for shape in shapes[:4])}"
    )


def _image(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise LayerError(UNSUPPORTED, f"needs an input of rows, columns and channels. Received: shape {list(shape)}")
    return shape


def _slide(config: Mapping[str, Any], shape: Shape, window: Sequence[int]) -> tuple[int, int]:
    """Returns rows and columns after a window slid over the feature map."""
    _image(shape)
    dilation: Sequence[int] = config.get("dilation_rate", (1, 1))
    sizes = []
    for size, extent, stride, rate in zip(shape[:2], window, config["strides"], dilation, strict=True):
        covered = size if config["padding"] == "same" else size - rate * (extent - 1)
        if covered < 1:
            raise LayerError(MALFORMED, f"slides a window of {list(window)} over a feature map of only {list(shape[:2])}")
        sizes.append(-(-covered // stride))
    return sizes[0], sizes[1]
