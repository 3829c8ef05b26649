"""Channel groups: what is cut together, what is kept, and why."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings

from secateur.core.errors import InvalidArgument
from secateur.core.graph import ChannelGroup, LayerGraph, channel_groups, check_prunable
from secateur.core.graph.assembly import Builder
from tests.support.graphs import layer_graphs


def groups_of(net: Builder, residual: Literal["skip", "coupled"] = "skip") -> dict[str, ChannelGroup]:
    return {group.name: group for group in channel_groups(net.build(), residual=residual)}


def start() -> Builder:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=8, kernel_size=3, padding="same")
    return net


def finish(net: Builder, head: str = "GlobalAveragePooling2D") -> Builder:
    net.add(head, "head")
    net.add("Dense", "logits", units=10)
    return net


def test_pass_through_layers_carry_the_channels() -> None:
    net = start()
    carried = ["conv"]
    passing: list[tuple[str, dict[str, Any]]] = [
        ("BatchNormalization", {}), ("ReLU", {}), ("Activation", {"activation": "tanh"}), ("MaxPooling2D", {}),
        ("AveragePooling2D", {"pool_size": 1}), ("Dropout", {"rate": 0.5}), ("SpatialDropout2D", {"rate": 0.5}),
        ("ZeroPadding2D", {}), ("UpSampling2D", {}), ("Rescaling", {"scale": 2.0}), ("DepthwiseConv2D", {"kernel_size": 3}),
        ("LeakyReLU", {}), ("ELU", {}),
    ]  # fmt: skip
    for op, config in passing:
        carried.append(net.add(op, f"carried{len(carried)}", **config))
    groups = groups_of(finish(net))
    assert groups["conv"] == ChannelGroup("conv", 8, ("conv",), (*carried, "head"), prunable=True)


def test_output_group_is_frozen() -> None:
    logits = groups_of(finish(start()))["logits"]
    assert not logits.prunable
    assert "output" in logits.reason


def test_input_channels_freeze_what_is_added_to_them() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=3, kernel_size=1)
    net.add("Add", "add", "input", "conv")
    group = groups_of(finish(net), "coupled")["conv"]
    assert not group.prunable
    assert "input" in group.reason


@pytest.mark.parametrize("op", ["Add", "Subtract", "Average", "Maximum", "Minimum"])
def test_residual_groups_are_kept_or_coupled(op: str) -> None:
    net = start()
    net.add("Conv2D", "branch", "conv", filters=8, kernel_size=3, padding="same")
    net.add(op, "merge", "conv", "branch")
    finish(net)
    kept, coupled = groups_of(net)["conv"], groups_of(net, "coupled")["conv"]
    assert kept.producers == coupled.producers == ("conv", "branch")
    assert not kept.prunable
    assert "merge" in kept.reason
    assert coupled.prunable
    assert coupled.reason == ""


def test_gate_couples_without_freezing() -> None:
    net = start()
    net.add("GlobalAveragePooling2D", "squeeze", keepdims=True)
    net.add("Conv2D", "excite", filters=8, kernel_size=1, activation="sigmoid")
    net.add("Multiply", "gate", "conv", "excite")
    group = groups_of(finish(net))["conv"]
    assert group.producers == ("conv", "excite")
    assert group.prunable


def test_broadcast_over_channels_freezes_the_narrow_side_only() -> None:
    net = start()
    net.add("Conv2D", "attention", "conv", filters=1, kernel_size=1)
    net.add("Multiply", "gate", "conv", "attention")
    groups = groups_of(finish(net))
    assert groups["conv"].prunable
    assert not groups["attention"].prunable
    assert "gate" in groups["attention"].reason


@pytest.mark.parametrize("head", ["GlobalAveragePooling2D", "Flatten"])
def test_concatenation_keeps_its_parts_apart(head: str) -> None:
    net = start()
    net.add("Conv2D", "other", "conv", filters=4, kernel_size=1)
    net.add("Concatenate", "concat", "other", "conv")
    groups = groups_of(finish(net, head))
    assert groups["conv"].members == ("conv", "concat", "head")
    assert groups["other"].members == ("other", "concat", "head")
    assert groups["conv"].prunable
    assert groups["other"].prunable


def test_equal_concatenations_are_united_part_by_part() -> None:
    net = start()
    net.add("Conv2D", "a", "conv", filters=4, kernel_size=1)
    net.add("Conv2D", "b", "conv", filters=6, kernel_size=1)
    net.add("Conv2D", "c", "conv", filters=4, kernel_size=1)
    net.add("Conv2D", "d", "conv", filters=6, kernel_size=1)
    net.add("Concatenate", "ab", "a", "b")
    net.add("Concatenate", "cd", "c", "d")
    net.add("Add", "add", "ab", "cd")
    groups = groups_of(finish(net), "coupled")
    assert groups["a"].producers == ("a", "c")
    assert groups["b"].producers == ("b", "d")
    assert groups["a"].prunable


def test_merge_of_different_arrangements_freezes_all() -> None:
    net = start()
    net.add("Conv2D", "a", "conv", filters=4, kernel_size=1)
    net.add("Conv2D", "b", "conv", filters=4, kernel_size=1)
    net.add("Concatenate", "ab", "a", "b")
    net.add("Add", "add", "ab", "conv")
    groups = groups_of(finish(net), "coupled")
    assert not any(groups[name].prunable for name in ("a", "b", "conv"))
    assert "add" in groups["a"].reason


@pytest.mark.parametrize(
    ("op", "config", "text"),
    [
        ("Conv2D", {"filters": 8, "kernel_size": 1, "groups": 2}, "grouped"),
        ("Reshape", {"target_shape": [8, 4, 16]}, "mixes"),
        ("ZeroPadding2D", {"padding": [[0, 0], [4, 4]], "data_format": "channels_first"}, "zeros"),
    ],
)
def test_layers_that_tie_channels_down_freeze_their_input(op: str, config: dict[str, Any], text: str) -> None:
    net = start()
    net.add(op, "tie", **config)
    group = groups_of(finish(net), "coupled")["conv"]
    assert not group.prunable
    assert text in group.reason
    assert "tie" in group.reason


def test_depth_multiplier_keeps_the_group() -> None:
    net = start()
    net.add("DepthwiseConv2D", "depthwise", kernel_size=3, depth_multiplier=2)
    group = groups_of(finish(net))["conv"]
    assert group.prunable
    assert group.width == 8


def test_nothing_to_prune_is_refused_with_the_reasons() -> None:
    net = Builder("net", (4, 4, 1))
    net.add("Flatten", "flatten")
    net.add("Dense", "logits", units=10)
    with pytest.raises(InvalidArgument, match="reaches the network's output") as caught:
        check_prunable(net.build())
    assert caught.value.reason == "GRAPH_NOT_PRUNABLE"
    assert caught.value.field == "logits"


def test_network_without_widths_is_refused() -> None:
    net = Builder("net", (4, 4, 3))
    net.add("GlobalAveragePooling2D", "pool")
    with pytest.raises(InvalidArgument, match="no convolution"):
        check_prunable(net.build())


def test_repeated_doubling_takes_no_exponential_time() -> None:
    net = Builder("net", (1, 1, 1))
    net.add("Conv2D", "conv", filters=1, kernel_size=1)
    last = "conv"
    for number in range(25):
        last = net.add("Concatenate", f"concat{number}", last, last)
    graph = finish(net).build()
    began = time.process_time()
    groups = channel_groups(graph)
    assert time.process_time() - began < 1
    assert not groups[0].prunable


@settings(max_examples=60)
@given(layer_graphs(every_kind=True))
def test_groups_partition_the_producers(graph: LayerGraph) -> None:
    groups = channel_groups(graph)
    producers = [name for group in groups for name in group.producers]
    assert sorted(producers) == sorted(layer.name for layer in graph if {"filters", "units"} & set(layer.config))
    for group in groups:
        assert group.name == group.producers[0]
        assert set(group.producers) <= set(group.members)
        assert {graph[name].output_shape[-1] for name in group.producers} == {group.width}
        assert group.prunable == (not group.reason)
    coupled = {group.name: group for group in channel_groups(graph, residual="coupled")}
    for group in groups:
        assert coupled[group.name].producers == group.producers
        assert coupled[group.name].prunable >= group.prunable
