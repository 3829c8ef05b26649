"""MobileNetV2 for small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from secateur.core.graph.assembly import Builder

_STAGES: Final = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, width, blocks and stride of the first block of every stage."""
_STEM: Final = 32
_HEAD: Final = 1_280
_DIVISOR: Final = 8


def mobilenet_v2(multiplier: float) -> Callable[[Builder], None]:
    """MobileNetV2 (Sandler et al. 2018, table 2) with the strides of kuangliu/pytorch-cifar: stem and second stage keep 32x32.

    On 32x32, at width 1: 87.96 M MACs and 2.190 M weights in the convolutions. Shortcuts are identities, as in the paper.

    Args:
        multiplier: Width multiplier. Widths are rounded to multiples of 8, and the last one does not shrink below 1280.
    """

    def add(net: Builder) -> None:
        _conv_bn_relu(net, "stem", filters=_scaled(_STEM, multiplier), kernel=3)
        stream, width = "stem_relu", _scaled(_STEM, multiplier)
        for stage, (expansion, filters, blocks, stride) in enumerate(_STAGES, start=1):
            for number in range(1, blocks + 1):
                block, wanted = f"stage{stage}_block{number}", _scaled(filters, multiplier)
                block_stride = stride if number == 1 else 1
                branch = _branch(net, block, stream, width * expansion, wanted, block_stride, expands=expansion > 1)
                keeps_shape = block_stride == 1 and width == wanted
                stream = net.add("Add", f"{block}_add", stream, branch) if keeps_shape else branch
                width = wanted
        _conv_bn_relu(net, "head", stream, filters=_scaled(_HEAD, max(1.0, multiplier)))

    return add


def _branch(net: Builder, block: str, stream: str, inner: int, filters: int, stride: int, *, expands: bool) -> str:
    if expands:
        stream = _conv_bn_relu(net, f"{block}_expand", stream, filters=inner)
    net.add("DepthwiseConv2D", f"{block}_depthwise", stream, kernel_size=3, strides=stride, padding="same", use_bias=False)
    _bn_relu(net, f"{block}_depthwise")
    net.add("Conv2D", f"{block}_project", filters=filters, kernel_size=1, use_bias=False)
    return net.add("BatchNormalization", f"{block}_project_bn")


def _conv_bn_relu(net: Builder, name: str, *inputs: str, filters: int, kernel: int = 1) -> str:
    net.add("Conv2D", name, *inputs, filters=filters, kernel_size=kernel, padding="same", use_bias=False)
    return _bn_relu(net, name)


def _bn_relu(net: Builder, name: str) -> str:
    net.add("BatchNormalization", f"{name}_bn")
    return net.add("ReLU", f"{name}_relu", max_value=6.0)


def _scaled(width: int, multiplier: float) -> int:
    """Returns the nearest multiple of the divisor that is not more than 10 % below (the authors' `make_divisible`)."""
    nearest = max(_DIVISOR, int(width * multiplier + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return nearest + _DIVISOR if nearest < 0.9 * width * multiplier else nearest
