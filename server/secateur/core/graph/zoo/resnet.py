"""Residual networks for small images: the narrow ones made for CIFAR, and those for ImageNet with a 3x3 stem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from secateur.core.graph.assembly import Builder

_CIFAR_WIDTHS: Final = (16, 32, 64)
_WIDTHS: Final = (64, 128, 256, 512)
_EXPANSION: Final = 4


def cifar_resnet(blocks: int) -> Callable[[Builder], None]:
    """CIFAR ResNet of 6n+2 layers with n blocks per stage and option A shortcuts (He et al. 2016, section 4.2).

    On 32x32, ResNet-56: 125.49 M MACs and 0.848 M weights in the convolutions. Option A shortcuts have no weights: they take
    every other pixel and pad the missing channels with zeros, half on either side.

    Args:
        blocks: Blocks per stage.
    """

    def add(net: Builder) -> None:
        stream = _stem(net, _CIFAR_WIDTHS[0])
        width = _CIFAR_WIDTHS[0]
        for stage, filters in enumerate(_CIFAR_WIDTHS, start=1):
            for number in range(1, blocks + 1):
                block = f"stage{stage}_block{number}"
                stride = 2 if filters != width else 1
                branch = _basic_branch(net, block, stream, filters, stride)
                if stride == 2:
                    stream = _option_a(net, block, stream, filters - width)
                stream = _merge(net, block, stream, branch, relu=2)
                width = filters

    return add


def basic_resnet(*blocks: int) -> Callable[[Builder], None]:
    """ResNet of blocks of two 3x3 convolutions with projection shortcuts, for small images: a 3x3 stem and no first pooling.

    On 32x32, ResNet-18 is that of kuangliu/pytorch-cifar: 11.17 M trainable parameters with 10 classes.

    Args:
        blocks: Blocks of each of the four stages.
    """
    return _projected(blocks, _basic_branch, expansion=1, relu=2)


def bottleneck_resnet(*blocks: int) -> Callable[[Builder], None]:
    """ResNet of bottlenecks with projection shortcuts, for small images: a 3x3 stem and no first pooling.

    On 32x32, ResNet-50: 1297.8 M MACs and 23.447 M weights in the convolutions. The 3x3 convolution has the stride.

    Args:
        blocks: Blocks of each of the four stages.
    """
    return _projected(blocks, _bottleneck_branch, expansion=_EXPANSION, relu=3)


def _projected(
    blocks: tuple[int, ...], add_branch: Callable[[Builder, str, str, int, int], str], *, expansion: int, relu: int
) -> Callable[[Builder], None]:
    def add(net: Builder) -> None:
        stream = _stem(net, _WIDTHS[0])
        width = _WIDTHS[0]
        for stage, (filters, count) in enumerate(zip(_WIDTHS, blocks, strict=True), start=1):
            for number in range(1, count + 1):
                block = f"stage{stage}_block{number}"
                stride = 2 if stage > 1 and number == 1 else 1
                branch = add_branch(net, block, stream, filters, stride)
                if stride > 1 or width != filters * expansion:
                    width = filters * expansion
                    stream = _conv_bn(net, f"{block}_shortcut", stream, filters=width, kernel=1, stride=stride)
                stream = _merge(net, block, stream, branch, relu=relu)

    return add


def _stem(net: Builder, filters: int) -> str:
    _conv_bn(net, "stem", filters=filters)
    return net.add("ReLU", "stem_relu")


def _basic_branch(net: Builder, block: str, stream: str, filters: int, stride: int) -> str:
    _conv_bn(net, f"{block}_conv1", stream, filters=filters, stride=stride)
    net.add("ReLU", f"{block}_relu1")
    return _conv_bn(net, f"{block}_conv2", filters=filters)


def _bottleneck_branch(net: Builder, block: str, stream: str, filters: int, stride: int) -> str:
    _conv_bn(net, f"{block}_conv1", stream, filters=filters, kernel=1)
    net.add("ReLU", f"{block}_relu1")
    _conv_bn(net, f"{block}_conv2", filters=filters, stride=stride)
    net.add("ReLU", f"{block}_relu2")
    return _conv_bn(net, f"{block}_conv3", filters=filters * _EXPANSION, kernel=1)


def _conv_bn(net: Builder, name: str, *inputs: str, filters: int, kernel: int = 3, stride: int = 1) -> str:
    net.add("Conv2D", name, *inputs, filters=filters, kernel_size=kernel, strides=stride, padding="same", use_bias=False)
    return net.add("BatchNormalization", f"{name}_bn")


def _merge(net: Builder, block: str, stream: str, branch: str, *, relu: int) -> str:
    net.add("Add", f"{block}_add", stream, branch)
    return net.add("ReLU", f"{block}_relu{relu}")


def _option_a(net: Builder, block: str, stream: str, missing: int) -> str:
    net.add("AveragePooling2D", f"{block}_shortcut", stream, pool_size=1, strides=2)
    # "channels_first" makes Keras pad the last two axes of a channels-last tensor: columns by 0 and channels by `missing`.
    # LiteRT turns it into one PAD, which TensorFlow Lite Micro runs in int8; no reshape, no weights, no MACs.
    padding = [[0, 0], [missing // 2, missing - missing // 2]]
    return net.add("ZeroPadding2D", f"{block}_shortcut_pad", padding=padding, data_format="channels_first")
