"""Zoo networks: the counts of the papers, the shapes, and what is refused."""

from __future__ import annotations

import math

import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, channel_groups, check_prunable, zoo


def conv_macs(graph: LayerGraph) -> int:
    return sum(
        math.prod(layer.output_shape) * math.prod(layer.config["kernel_size"]) * graph.input_shapes(layer.name)[0][-1]
        for layer in graph
        if layer.op == "Conv2D"
    )


def conv_parameters(graph: LayerGraph) -> int:
    return sum(
        math.prod(layer.config["kernel_size"]) * graph.input_shapes(layer.name)[0][-1] * layer.config["filters"]
        for layer in graph
        if layer.op == "Conv2D"
    )


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [("vgg16", 313.20e6, 14.710e6), ("resnet56", 125.49e6, 0.848e6), ("resnet20", 40.55e6, 0.2677e6)],
)
def test_convolutions_cost_what_the_literature_says(name: str, macs: float, parameters: float) -> None:
    graph = zoo.build(name, (32, 32, 3), 10)
    assert conv_macs(graph) == pytest.approx(macs, rel=5e-5)
    assert conv_parameters(graph) == pytest.approx(parameters, rel=5e-4)
    assert not any(layer.config["use_bias"] for layer in graph if layer.op == "Conv2D")


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 11, 3), (64, 64, 3)])
def test_takes_other_sizes_and_ends_in_logits(name: str, shape: tuple[int, int, int]) -> None:
    graph = zoo.build(name, shape, 7)
    assert graph.input_shape == shape
    assert graph.classes == 7
    assert graph[graph.outputs[0]].op == "Dense"
    assert graph[graph.outputs[0]].config["activation"] == "linear"
    check_prunable(graph)


def test_vgg16_can_cut_every_convolution() -> None:
    graph = zoo.build("vgg16", (32, 32, 3), 10)
    prunable = [group.name for group in channel_groups(graph) if group.prunable]
    assert prunable == [layer.name for layer in graph if layer.op == "Conv2D"]
    assert len(prunable) == 13


def test_resnet_shortcuts_keep_the_stream() -> None:
    groups = {group.name: group for group in channel_groups(zoo.build("resnet20", (32, 32, 3), 10))}
    assert [name for name, group in groups.items() if group.prunable] == [
        f"stage{stage}_block{block}_conv1" for stage in (1, 2, 3) for block in (1, 2, 3)
    ]
    assert groups["stem"].producers == ("stem", "stage1_block1_conv2", "stage1_block2_conv2", "stage1_block3_conv2")
    assert "stage1_block1_add" in groups["stem"].reason


@pytest.mark.parametrize(
    ("name", "shape", "classes", "reason", "field"),
    [
        ("resnet21", (32, 32, 3), 10, "ZOO_UNKNOWN", "name"),
        ("resnet20", (7, 32, 3), 10, "INPUT_SHAPE_INVALID", "input_shape"),
        ("resnet20", (32, 32), 10, "INPUT_SHAPE_INVALID", "input_shape"),
        ("vgg16", (32, 32, 0), 10, "INPUT_SHAPE_INVALID", "input_shape"),
        ("vgg16", (32, 32, 3), 1, "CLASSES_INVALID", "classes"),
        ("vgg16", (4096, 4096, 3), 10, "ARCHITECTURE_TOO_LARGE", "block1_conv1"),
    ],
)
def test_refuses(name: str, shape: tuple[int, ...], classes: int, reason: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        zoo.build(name, shape, classes)
    assert caught.value.reason == reason
    assert caught.value.field == field
