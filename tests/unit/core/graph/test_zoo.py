"""Zoo networks: the counts of the papers, the shapes, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from secateur.core.cost import LayerCost, cost_of, layer_costs
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, channel_groups, check_prunable, from_data, zoo
from secateur.core.graph.assembly import Builder

CONVOLUTIONS = {"Conv2D", "DepthwiseConv2D"}


def convolutions(graph: LayerGraph) -> LayerCost:
    """Cost of the convolutions alone: no normalisation, no logits."""
    costs = layer_costs(graph)
    return sum((costs[layer.name] for layer in graph if layer.op in CONVOLUTIONS), start=LayerCost())


def trainable(graph: LayerGraph) -> int:
    """Parameters as PyTorch counts them: without the moving mean and variance of every normalised channel."""
    return cost_of(graph).parameters - 2 * normalised_channels(graph)


def normalised_channels(graph: LayerGraph) -> int:
    return sum(layer.output_shape[-1] for layer in graph if layer.op == "BatchNormalization")


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("vgg16", 313.20e6, 14.710e6),
        ("resnet56", 125.49e6, 0.848e6),
        ("resnet50", 1297.8e6, 23.447e6),
        ("mobilenetv2", 87.96e6, 2.190e6),
    ],
)
def test_convolutions_cost_what_the_algorithm_anchors_say(name: str, macs: float, parameters: float) -> None:
    """Section 1.5 of the algorithm anchors: convolutions only, 32x32, a MAC is 1; no bias, no normalisation."""
    counted = convolutions(zoo.build(name, (32, 32, 3), 10))
    assert counted.macs == pytest.approx(macs, rel=5e-5)
    assert counted.parameters == pytest.approx(parameters, rel=5e-4)


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("mobilenetv2_x0_5", 28.0, 0.70),
        ("mobilenetv2_x0_75", 59.3, 1.37),
        ("mobilenetv2", 88.0, 2.24),
        ("mobilenetv2_x1_4", 170.1, 4.33),
    ],
)
def test_mobilenets_cost_what_chenyaofo_counts(name: str, macs: float, parameters: float) -> None:
    """chenyaofo/pytorch-cifar-models, in millions: MACs of convolutions and logits, trainable parameters, 10 classes."""
    graph = zoo.build(name, (32, 32, 3), 10)
    assert round(cost_of(graph).macs / 1e6, 1) == macs
    assert round(trainable(graph) / 1e6, 2) == parameters


@pytest.mark.parametrize(("name", "macs", "parameters"), [("vgg11", 153.3, 9.76), ("vgg16", 313.7, 15.25)])
def test_vggs_cost_what_chenyaofo_counts(name: str, macs: float, parameters: float) -> None:
    """chenyaofo/pytorch-cifar-models, whose nets have two dense layers of 512 more, and biases that normalisation cancels."""
    graph = zoo.build(name, (32, 32, 3), 10)
    assert round((cost_of(graph).macs + 2 * 512 * 512) / 1e6, 1) == macs
    assert round((trainable(graph) + 2 * 513 * 512 + normalised_channels(graph)) / 1e6, 2) == parameters


def test_vgg19_and_alexnet_have_the_parameters_that_bearpaw_counts() -> None:
    """bearpaw/pytorch-classification, 10 classes: 20.04 M with biases that normalisation cancels, and 2.47 M."""
    vgg19 = zoo.build("vgg19", (32, 32, 3), 10)
    assert round((trainable(vgg19) + normalised_channels(vgg19)) / 1e6, 2) == 20.04
    assert convolutions(vgg19).macs == 313_196_544 + 589_824 * 8**2 + 2_359_296 * (4**2 + 2**2)  # VGG-16 and three more
    alexnet = zoo.build("alexnet", (32, 32, 3), 10)
    assert round(trainable(alexnet) / 1e6, 2) == 2.47
    assert convolutions(alexnet).macs == 23_232 * 8**2 + 307_200 * 4**2 + (663_552 + 884_736 + 589_824) * 2**2


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [("resnet20", 40.81, 0.27), ("resnet32", 69.12, 0.46), ("resnet44", 97.44, 0.66), ("resnet56", 125.75, 0.85)],
)
def test_cifar_resnets_cost_what_he_and_chenyaofo_count(name: str, macs: float, parameters: float) -> None:
    """Parameters: He et al. 2016, table 6. MACs: chenyaofo, whose two shortcuts are 1x1 projections instead of option A."""
    graph = zoo.build(name, (32, 32, 3), 10)
    projections = 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert round((cost_of(graph).macs + projections) / 1e6, 2) == macs
    assert round(trainable(graph) / 1e6, 2) == parameters


def test_resnet110_costs_what_he_and_hrank_count() -> None:
    """He et al. 2016, table 6: 1.7 M parameters. HRank's README: 252.89 M MACs."""
    graph = zoo.build("resnet110", (32, 32, 3), 10)
    assert round(cost_of(graph).macs / 1e6, 2) == 252.89
    assert round(trainable(graph) / 1e6, 1) == 1.7


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11.22), ("resnet50", 23.71)])
def test_wide_resnets_have_the_parameters_that_weiaicunzai_counts(name: str, parameters: float) -> None:
    """weiaicunzai/pytorch-cifar100: trainable parameters in millions, 100 classes."""
    assert round(trainable(zoo.build(name, (32, 32, 3), 100)) / 1e6, 2) == parameters


def test_resnet18_has_the_macs_that_its_layers_give() -> None:
    stage = (3 * 3 * 64 * 64 * 4 - 3 * 3 * 64 * 32) * 32**2  # every later stage halves its first convolution ...
    shortcut = 64 * 128 * 16**2  # ... and projects its shortcut
    stem = 3 * 3 * 3 * 64 * 32**2
    first = 3 * 3 * 64 * 64 * 4 * 32**2
    assert convolutions(zoo.build("resnet18", (32, 32, 3), 10)).macs == stem + first + 3 * (stage + shortcut)


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


# Families ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("resnet56", ("resnet44", "resnet32", "resnet20")),
        ("resnet50", ("resnet18",)),
        ("vgg16", ("vgg11",)),
        ("mobilenetv2", ("mobilenetv2_x0_75", "mobilenetv2_x0_5")),
        ("resnet20", ()),
        ("alexnet", ()),
    ],
)
def test_knows_the_smaller_members_of_a_family(name: str, smaller: tuple[str, ...]) -> None:
    renamed = from_data({**zoo.build(name, (9, 11, 2), 7).to_dict(), "name": "whatever"})
    assert zoo.smaller_than(renamed) == smaller


def test_families_go_from_small_to_large() -> None:
    for name in zoo.names():
        graph = zoo.build(name, (32, 32, 3), 10)
        sizes = [cost_of(zoo.build(other, (32, 32, 3), 10)) for other in zoo.smaller_than(graph)]
        for larger, smaller in pairwise([cost_of(graph), *sizes]):
            assert larger.parameters > smaller.parameters
            assert larger.macs > smaller.macs


@pytest.mark.parametrize("shape", [(32, 32, 3), (4, 4, 1)])
def test_a_network_outside_the_zoo_has_no_family(shape: tuple[int, int, int]) -> None:
    net = Builder("resnet56", shape)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=10)
    with pytest.raises(InvalidArgument) as caught:
        zoo.smaller_than(net.build())
    assert caught.value.reason == "STOCK_NEEDS_ZOO"
    assert caught.value.field == "policy.mode"
