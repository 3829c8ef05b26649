"""Plans as data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from secateur.core.cost import cost_of
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, Plan, plan
from secateur.core.serial import digest_of, from_data, to_data


@pytest.fixture
def graph() -> LayerGraph:
    return zoo.build("resnet20", (8, 8, 1), 10)


@pytest.fixture
def chosen(graph: LayerGraph) -> Plan:
    return plan(graph, Budget.fractions(parameters=0.5), mode="flops", seed=7)


def test_survives_json(chosen: Plan) -> None:
    again = from_data(Plan, json.loads(json.dumps(to_data(chosen))))
    assert again == chosen
    assert again.digest == chosen.digest


def test_digest_tells_plans_apart(graph: LayerGraph, chosen: Plan) -> None:
    assert len(chosen.digest) == 64
    assert plan(graph, Budget.fractions(parameters=0.5), mode="flops", seed=7).digest == chosen.digest
    assert plan(graph, Budget.fractions(parameters=0.5), mode="flops", seed=8).digest != chosen.digest
    assert replace(chosen, widths={**chosen.widths, "stage1_block1_conv1": 4}).digest != chosen.digest


def test_what_came_later_changes_no_digest_of_plans_without_it(chosen: Plan) -> None:
    data = to_data(chosen)
    for later in ("stock", "dropped", "indices"):
        del data[later]
    assert chosen.digest == digest_of(data)


def test_applies_to_its_network(graph: LayerGraph, chosen: Plan) -> None:
    pruned = chosen.apply(graph)
    for name, width in chosen.widths.items():
        assert pruned[name].output_shape[-1] == width
    assert cost_of(pruned) == chosen.cost
    assert pruned.classes == graph.classes


def test_refuses_another_network(chosen: Plan) -> None:
    with pytest.raises(InvalidArgument) as caught:
        chosen.apply(zoo.build("resnet20", (8, 8, 1), 11))
    assert caught.value.reason == "PLAN_MISMATCH"
