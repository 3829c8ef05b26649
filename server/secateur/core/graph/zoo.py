"""Built-in networks, as their papers describe them for 32x32 images; they take other sizes as well.

All end in a dense layer of logits without softmax: training takes the logits, and the largest one is the class either way.
Convolutions before a batch normalisation have no bias, which the normalisation would cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph.arguments import MAX_CHANNELS, show
from secateur.core.graph.assembly import Builder
from secateur.core.graph.ir import LayerGraph, Shape

MIN_SIDE: Final = 8
"""Fewest rows and columns of an input: the deepest feature maps would be single values, whatever is in the image."""

_VGG16_BLOCKS: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_RESNET_WIDTHS: Final = (16, 32, 64)


def names() -> tuple[str, ...]:
    """Names of all zoo networks, sorted."""
    return tuple(sorted(_ZOO))


def build(name: str, input_shape: Shape, classes: int) -> LayerGraph:
    """Builds a zoo network.

    Args:
        name: One of `names()`.
        input_shape: Rows, columns and channels, rows and columns at least `MIN_SIDE`.
        classes: Number of logits, at least 2.

    Raises:
        InvalidArgument: ZOO_UNKNOWN, INPUT_SHAPE_INVALID or CLASSES_INVALID; ARCHITECTURE_TOO_LARGE for absurd sizes.
    """
    if name not in _ZOO:
        raise InvalidArgument(
            "ZOO_UNKNOWN",
            f"There is no zoo network of that name. Known: {', '.join(names())}. Received: {show(name)}",
            field="name",
        )
    if len(input_shape) != 3 or min(input_shape[:2]) < MIN_SIDE or input_shape[2] < 1:
        raise InvalidArgument(
            "INPUT_SHAPE_INVALID",
            f"A zoo network takes rows, columns and channels, at least {MIN_SIDE} x {MIN_SIDE} x 1. "
            f"Received: {show(list(input_shape))}",
            field="input_shape",
        )
    if not 2 <= classes <= MAX_CHANNELS:
        raise InvalidArgument(
            "CLASSES_INVALID",
            f"The number of classes must lie between 2 and {MAX_CHANNELS}. Received: {show(classes)}",
            field="classes",
        )
    net = Builder(name, tuple(input_shape))
    _ZOO[name](net)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=classes)
    return net.build()


def _conv_bn(net: Builder, name: str, *inputs: str, filters: int, stride: int = 1) -> str:
    net.add("Conv2D", name, *inputs, filters=filters, kernel_size=3, strides=stride, padding="same", use_bias=False)
    return net.add("BatchNormalization", f"{name}_bn")


def _vgg16(net: Builder) -> None:
    """VGG-16 for small images (Simonyan & Zisserman 2015; one dense layer, batch normalisation, as is usual on CIFAR).

    On 32x32: 313.20 M MACs and 14.710 M weights in the convolutions. Pooling pads, so that small inputs end at 1x1, not 0x0.
    """
    for block, (filters, convs) in enumerate(_VGG16_BLOCKS, start=1):
        for conv in range(1, convs + 1):
            _conv_bn(net, f"block{block}_conv{conv}", filters=filters)
            net.add("ReLU", f"block{block}_relu{conv}")
        net.add("MaxPooling2D", f"block{block}_pool", padding="same")


def _resnet(blocks: int) -> Callable[[Builder], None]:
    """CIFAR ResNet of 6n+2 layers with n blocks per stage and option A shortcuts (He et al. 2016, section 4.2).

    On 32x32, ResNet-56: 125.49 M MACs and 0.848 M weights in the convolutions. Option A shortcuts have no weights: they take
    every other pixel and pad the missing channels with zeros, half on either side.
    """

    def add(net: Builder) -> None:
        _conv_bn(net, "stem", filters=_RESNET_WIDTHS[0])
        stream = net.add("ReLU", "stem_relu")
        width = _RESNET_WIDTHS[0]
        for stage, filters in enumerate(_RESNET_WIDTHS, start=1):
            for number in range(1, blocks + 1):
                block = f"stage{stage}_block{number}"
                stride = 2 if filters != width else 1
                _conv_bn(net, f"{block}_conv1", stream, filters=filters, stride=stride)
                net.add("ReLU", f"{block}_relu1")
                branch = _conv_bn(net, f"{block}_conv2", filters=filters)
                if stride == 2:
                    stream = _option_a(net, block, stream, filters - width)
                net.add("Add", f"{block}_add", stream, branch)
                stream = net.add("ReLU", f"{block}_relu2")
                width = filters

    return add


def _option_a(net: Builder, block: str, stream: str, missing: int) -> str:
    net.add("AveragePooling2D", f"{block}_shortcut", stream, pool_size=1, strides=2)
    # "channels_first" makes Keras pad the last two axes of a channels-last tensor: columns by 0 and channels by `missing`.
    # LiteRT turns it into one PAD, which TensorFlow Lite Micro runs in int8; no reshape, no weights, no MACs.
    padding = [[0, 0], [missing // 2, missing - missing // 2]]
    return net.add("ZeroPadding2D", f"{block}_shortcut_pad", padding=padding, data_format="channels_first")


_ZOO: Final[dict[str, Callable[[Builder], None]]] = {"resnet20": _resnet(3), "resnet56": _resnet(9), "vgg16": _vgg16}
