"""Chains of convolutions and poolings: AlexNet and VGG for small images.

Pooling pads, so that small inputs end at 1x1, not 0x0; on 32x32 that changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from secateur.core.graph.assembly import Builder

_VGG_WIDTHS: Final = (64, 128, 256, 512, 512)
_ALEXNET_TAIL: Final = ((384, False), (256, False), (256, True))


def alexnet(net: Builder) -> None:
    """AlexNet for small images: the widths of Krizhevsky 2014 (arXiv 1404.5997), one dense layer, no normalisation.

    This is the network of bearpaw/pytorch-classification: 2.47 M parameters with 10 classes.
    """
    _convolution(net, 1, filters=64, kernel=11, stride=4)
    _pool(net, 1)
    _convolution(net, 2, filters=192, kernel=5)
    _pool(net, 2)
    for number, (filters, pooled) in enumerate(_ALEXNET_TAIL, start=3):
        _convolution(net, number, filters=filters, kernel=3)
        if pooled:
            _pool(net, number)


def _convolution(net: Builder, number: int, *, filters: int, kernel: int, stride: int = 1) -> None:
    net.add("Conv2D", f"conv{number}", filters=filters, kernel_size=kernel, strides=stride, padding="same")
    net.add("ReLU", f"relu{number}")


def _pool(net: Builder, number: int) -> None:
    net.add("MaxPooling2D", f"pool{number}", padding="same")


def vgg(*convolutions: int) -> Callable[[Builder], None]:
    """VGG for small images (Simonyan & Zisserman 2015; one dense layer, batch normalisation, as is usual on CIFAR).

    On 32x32, VGG-16: 313.20 M MACs and 14.710 M weights in the convolutions.

    Args:
        convolutions: Convolutions of each of the five blocks.
    """

    def add(net: Builder) -> None:
        for block, (filters, count) in enumerate(zip(_VGG_WIDTHS, convolutions, strict=True), start=1):
            for number in range(1, count + 1):
                name = f"block{block}_conv{number}"
                net.add("Conv2D", name, filters=filters, kernel_size=3, padding="same", use_bias=False)
                net.add("BatchNormalization", f"{name}_bn")
                net.add("ReLU", f"block{block}_relu{number}")
            net.add("MaxPooling2D", f"block{block}_pool", padding="same")

    return add
