"""Built-in networks, as they are used on 32x32 images; they take other sizes as well.

All end in global average pooling and one dense layer of logits without softmax: training takes the logits, and the largest one
is the class either way. Convolutions before a batch normalisation have no bias, which the normalisation would cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph.arguments import MAX_CHANNELS, show
from secateur.core.graph.assembly import Builder
from secateur.core.graph.ir import LayerGraph, Shape
from secateur.core.graph.zoo.mobilenet import mobilenet_v2
from secateur.core.graph.zoo.plain import alexnet, vgg
from secateur.core.graph.zoo.resnet import basic_resnet, bottleneck_resnet, cifar_resnet

__all__ = ["MIN_SIDE", "build", "names", "smaller_than"]

MIN_SIDE: Final = 8
"""Fewest rows and columns of an input: the deepest feature maps would be single values, whatever is in the image."""

_FAMILIES: Final[tuple[dict[str, Callable[[Builder], None]], ...]] = (
    {"alexnet": alexnet},
    {"vgg11": vgg(1, 1, 2, 2, 2), "vgg16": vgg(2, 2, 3, 3, 3), "vgg19": vgg(2, 2, 4, 4, 4)},
    {f"resnet{6 * blocks + 2}": cifar_resnet(blocks) for blocks in (3, 5, 7, 9, 18)},
    {"resnet18": basic_resnet(2, 2, 2, 2), "resnet50": bottleneck_resnet(3, 4, 6, 3)},
    {
        "mobilenetv2_x0_5": mobilenet_v2(0.5),
        "mobilenetv2_x0_75": mobilenet_v2(0.75),
        "mobilenetv2": mobilenet_v2(1.0),
        "mobilenetv2_x1_4": mobilenet_v2(1.4),
    },
)
"""The networks by name, family by family; within a family from the smallest to the largest."""

_ZOO: Final = {name: body for family in _FAMILIES for name, body in family.items()}


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


def smaller_than(graph: LayerGraph) -> tuple[str, ...]:
    """Returns the smaller members of the family of a zoo network, the largest first; none for the smallest of a family.

    Args:
        graph: A zoo network at any input shape and number of classes, by whatever name: it is recognised by its digest.

    Raises:
        InvalidArgument: STOCK_NEEDS_ZOO, if it is no zoo network.
    """
    for family in _FAMILIES:
        members = tuple(family)
        for index, name in enumerate(members):
            if _is(graph, name):
                return members[index - 1 :: -1] if index else ()
    raise InvalidArgument(
        "STOCK_NEEDS_ZOO",
        f"Only a network of the zoo has smaller stock networks to fall back on; known: {', '.join(names())}. "
        f"Received: the architecture {graph.digest[:16]}, which is none of them",
        field="policy.mode",
    )


def _is(graph: LayerGraph, name: str) -> bool:
    try:
        return build(name, graph.input_shape, graph.classes).digest == graph.digest
    except InvalidArgument:  # a shape that no zoo network takes
        return False
