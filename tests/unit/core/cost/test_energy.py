"""Energy estimates, against the table of the research notes (microjoule per image at 32 bit)."""

from __future__ import annotations

import pytest

from secateur.core.cost import cost_of, layer_costs
from secateur.core.cost.energy import horowitz, paper
from secateur.core.cost.figures import LayerCost
from secateur.core.graph import LayerGraph, zoo

MIB = 2**20


@pytest.mark.parametrize(
    ("network", "compute", "paper_compute", "data", "paper_data"),
    [("vgg16", 1_441, 720, 9_592, 0.037), ("resnet56", 577, 289, 884, 0.0034)],
)
def test_convolutions_of_the_papers(network: str, compute: float, paper_compute: float, data: float, paper_data: float) -> None:
    graph = zoo.build(network, (32, 32, 3), 10)
    total = _convolutions(graph)
    assert horowitz(total.macs, total.memory_bytes) == pytest.approx((compute, data), rel=0.002)
    assert paper(total.macs, total.memory_bytes) == pytest.approx((paper_compute, paper_data), rel=0.03)


def test_a_mebibyte_of_dram() -> None:
    assert horowitz(0, MIB).total == pytest.approx(167.8, abs=0.05)
    assert paper(0, MIB).total == pytest.approx(640e-6)


def test_int8_moves_a_quarter_and_multiplies_for_a_twentieth() -> None:
    floating, integer = horowitz(10**6, MIB), horowitz(10**6, MIB, int8=True)
    assert integer.data == floating.data / 4
    assert (integer.compute, floating.compute) == pytest.approx((0.23, 4.6))


def test_both_totals_are_figures_of_a_network() -> None:
    cost = cost_of(zoo.build("resnet20", (8, 8, 1), 10))
    assert cost.energy_horowitz_uj == horowitz(cost.macs, cost.memory_bytes).total
    assert cost.energy_paper_uj == paper(cost.macs, cost.memory_bytes).total
    assert cost.energy_horowitz_uj > cost.energy_paper_uj


def _convolutions(graph: LayerGraph) -> LayerCost:
    costs = layer_costs(graph)
    return sum((costs[layer.name] for layer in graph if layer.op == "Conv2D"), start=LayerCost())
