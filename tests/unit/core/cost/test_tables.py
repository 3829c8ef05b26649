"""The table of channel groups: what everything takes, and why some of it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from secateur.core.cost import cost_of, group_rows, group_table, layer_costs
from secateur.core.graph import LayerGraph, Residual, zoo
from tests.support.graphs import layer_graphs


@settings(max_examples=40)
@given(layer_graphs(every_kind=True))
def test_shares_never_count_anything_twice(graph: LayerGraph) -> None:
    rows = group_rows(graph)
    for resource in ("parameters", "flops", "memory"):
        assert 0 < sum(getattr(row.share, resource) for row in rows) <= 1 + 1e-9


def test_a_chain_is_shared_out_completely() -> None:
    graph = zoo.build("vgg16", (32, 32, 3), 10)
    rows = {row.group.name: row for row in group_rows(graph)}
    assert sum(row.share.parameters for row in rows.values()) == pytest.approx(1)
    costs = layer_costs(graph)
    expected = costs["block1_conv2"].macs / cost_of(graph).macs
    assert rows["block1_conv2"].share.flops == pytest.approx(expected)


def test_lines_say_what_can_be_cut_and_why_not() -> None:
    graph = zoo.build("resnet20", (8, 8, 1), 10)
    kept = group_table(group_rows(graph)).splitlines()
    assert kept[0].split()[:3] == ["group", "width", "parameters"]
    stem = next(line for line in kept if line.startswith("stem "))
    assert "no: " in stem
    assert "more" in stem
    block = next(line for line in kept if line.startswith("stage1_block1_conv1 "))
    assert " yes " in block
    assert "16" in block.split()


def test_what_a_residual_stream_keeps_it_gives_where_it_is_coupled() -> None:
    graph = zoo.build("resnet18", (8, 8, 1), 10)
    kept, coupled = ({row.group.name: row.verdict for row in group_rows(graph, residual=each)} for each in Residual)
    assert kept["stem"].startswith("no: it takes part in the residual merge")
    assert coupled["stem"] == "yes"
