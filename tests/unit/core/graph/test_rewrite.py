"""Other widths: exactly the groups asked for change, and every consumer follows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, channel_groups, from_data, with_widths, zoo
from tests.support.graphs import layer_graphs


def widths_of(graph: LayerGraph) -> dict[str, int]:
    return {group.name: group.width for group in channel_groups(graph)}


@settings(max_examples=80)
@given(layer_graphs(every_kind=True), st.data())
def test_changes_exactly_the_groups_asked_for(graph: LayerGraph, data: st.DataObject) -> None:
    groups = channel_groups(graph, residual="coupled")
    prunable = [group for group in groups if group.prunable]
    asked = {group.name: data.draw(st.integers(1, group.width), group.name) for group in prunable if data.draw(st.booleans())}
    before = graph.to_dict()
    cut = with_widths(graph, asked)
    assert graph.to_dict() == before
    assert widths_of(cut) == {**widths_of(graph), **asked}
    for layer in cut:
        assert (layer.op, layer.inputs) == (graph[layer.name].op, graph[layer.name].inputs)
        assert len(layer.output_shape) == len(graph[layer.name].output_shape)
    assert cut.classes == graph.classes
    assert from_data(cut.to_dict()) == cut  # every shape is what a fresh inference says


@settings(max_examples=40)
@given(layer_graphs(every_kind=True))
def test_own_widths_change_nothing(graph: LayerGraph) -> None:
    assert with_widths(graph, widths_of(graph)) == graph
    assert with_widths(graph, {}).digest == graph.digest


def test_any_producer_stands_for_its_group() -> None:
    graph = zoo.build("resnet20", (8, 8, 1), 10)
    cut = with_widths(graph, {"stage1_block2_conv1": 5})
    assert cut["stage1_block2_conv1_bn"].output_shape == (8, 8, 5)
    assert cut.digest != graph.digest
    assert cut.name == graph.name


@pytest.mark.parametrize(
    ("widths", "text"),
    [
        ({"stem_bn": 8}, "Only layers that set"),
        ({"nobody": 8}, "Only layers that set"),
        ({"stage1_block1_conv1": 0}, "from 1 to 16"),
        ({"stage1_block1_conv1": 17}, "from 1 to 16"),
        ({"stage1_block1_conv1": True}, "from 1 to 16"),
        ({"stage1_block1_conv1": 7.5}, "from 1 to 16"),
        ({"logits": 9}, "may not change: it reaches the network's output"),
        ({"stem": 8}, "may not change: .*zeros"),
        ({"stem": 16, "stage1_block1_conv2": 15}, "may not change"),
    ],
)
def test_refuses(widths: dict[str, int], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        with_widths(zoo.build("resnet20", (8, 8, 1), 10), widths)
    assert caught.value.reason == "WIDTH_INVALID"
    assert caught.value.field in widths


@settings(max_examples=20)
@given(layer_graphs(max_blocks=3, every_kind=True))
def test_two_widths_for_one_group_are_refused(graph: LayerGraph) -> None:
    for group in channel_groups(graph, residual="coupled"):
        if group.prunable and len(group.producers) > 1:
            first, second = group.producers[:2]
            with pytest.raises(InvalidArgument, match="share their channels"):
                with_widths(graph, {first: group.width, second: 1})
