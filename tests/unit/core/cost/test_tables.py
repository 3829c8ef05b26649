"""What channel groups take of a network, and why some of them are kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from secateur.core.cost import cost_of, group_rows, layer_costs
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


def test_what_a_residual_stream_keeps_it_gives_where_it_is_coupled() -> None:
    graph = zoo.build("resnet18", (8, 8, 1), 10)
    kept, coupled = ({row.group.name: row.group for row in group_rows(graph, residual=each)} for each in Residual)
    assert kept["stem"].reason.startswith("it takes part in the residual merge")
    assert coupled["stem"].prunable
