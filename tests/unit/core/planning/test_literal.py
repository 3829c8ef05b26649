"""The literal algorithm reproduces the paper: section 1.4 of the algorithm anchors, VGG-16 on 32x32, k = 10 %, 200 seeds.

Iterations and reductions are means; the anchors are means of another implementation, so that both have an error. Two standard
deviations of a single run bound them; where the anchors give none it is our own. The per-layer shares are in
tests/unit/core/cost/test_anchors.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import zoo
from secateur.core.planning import Budget, Planner, Trace, WidthRule
from secateur.core.resources import Resource
from secateur.core.specs import PlanMode, PlanPolicy, SearchPolicy

SEEDS = range(200)
Traces = Callable[[PlanMode, float], list[Trace]]
MODES = {
    PlanMode.PARAMETERS: Resource.PARAMETERS,
    PlanMode.FLOPS: Resource.FLOPS,
    PlanMode.MEMORY: Resource.MEMORY_BYTES,
    PlanMode.ACTIVATION: Resource.ACTIVATION_BYTES,
}


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner.of(zoo.build("vgg16", (32, 32, 3), 10), PlanPolicy(PlanMode.FLOPS, literal=True))


@pytest.fixture(scope="module")
def traces(planner: Planner) -> Traces:
    """Runs all seeds of a mode down to a reduction of its own resource; every case only once."""
    done: dict[tuple[PlanMode, float], list[Trace]] = {}

    def run(mode: PlanMode, reduction: float) -> list[Trace]:
        if (mode, reduction) not in done:
            budget = Budget.fractions(**{MODES[mode].value: 1 - reduction})
            done[mode, reduction] = [planner.trace(budget, mode, seed) for seed in SEEDS]
        return done[mode, reduction]

    return run


def mean_within(values: Iterable[float], expected: float, deviation: float | None = None) -> None:
    found = list(values)
    allowed = 2 * (statistics.stdev(found) if deviation is None else deviation)
    assert statistics.fmean(found) == pytest.approx(expected, abs=allowed)


@pytest.mark.parametrize(
    ("mode", "reduction", "iterations"),
    [
        (PlanMode.PARAMETERS, 0.5, 28.6),
        (PlanMode.FLOPS, 0.5, 40.8),
        (PlanMode.MEMORY, 0.5, 29.9),
        (PlanMode.ACTIVATION, 0.5, 57.8),
        (PlanMode.PARAMETERS, 0.8425, 84),
        (PlanMode.FLOPS, 0.8967, 142),
        (PlanMode.MEMORY, 0.9102, 126),
        (PlanMode.ACTIVATION, 0.9102, 237),
    ],
)
def test_iterations(traces: Traces, mode: PlanMode, reduction: float, iterations: float) -> None:
    mean_within((len(trace.cuts) for trace in traces(mode, reduction)), iterations)


@pytest.mark.parametrize(
    ("mode", "reduction", "resource", "percent", "deviation"),
    [
        (PlanMode.PARAMETERS, 0.8425, Resource.FLOPS, 57.7, 2.5),
        (PlanMode.PARAMETERS, 0.8425, Resource.PARAMETERS, 84.4, None),
        (PlanMode.PARAMETERS, 0.8425, Resource.ACTIVATION_BYTES, 19, None),
        (PlanMode.FLOPS, 0.8967, Resource.FLOPS, 89.8, None),
        (PlanMode.FLOPS, 0.8967, Resource.PARAMETERS, 85.6, 1.6),
        (PlanMode.FLOPS, 0.8967, Resource.ACTIVATION_BYTES, 60, None),
        (PlanMode.MEMORY, 0.9102, Resource.FLOPS, 75.5, 2.1),
        (PlanMode.MEMORY, 0.9102, Resource.PARAMETERS, 92.1, None),
        (PlanMode.MEMORY, 0.9102, Resource.ACTIVATION_BYTES, 38, None),
        (PlanMode.ACTIVATION, 0.9102, Resource.FLOPS, 95.4, 0.4),
        (PlanMode.ACTIVATION, 0.9102, Resource.PARAMETERS, 85.8, 1.9),
        (PlanMode.ACTIVATION, 0.9102, Resource.ACTIVATION_BYTES, 91, None),
    ],
)
def test_what_goes_along(
    planner: Planner,
    traces: Traces,
    mode: PlanMode,
    reduction: float,
    resource: Resource,
    percent: float,
    deviation: float | None,
) -> None:
    full = planner.unpruned.cost.by_resource()[resource]
    reductions = (100 * (1 - trace.plan.cost.by_resource()[resource] / full) for trace in traces(mode, reduction))
    mean_within(reductions, percent, deviation)


@pytest.mark.parametrize(
    ("mode", "reduction", "narrowest"),
    [(PlanMode.PARAMETERS, 0.8425, 64), (PlanMode.FLOPS, 0.8967, 11), (PlanMode.ACTIVATION, 0.9102, 1)],
)
def test_narrowest_layer(traces: Traces, mode: PlanMode, reduction: float, narrowest: int) -> None:
    """FA squeezes the second convolution and MA(a) the first two down to nothing: floors are our remedy."""
    assert statistics.median(min(trace.plan.widths.values()) for trace in traces(mode, reduction)) == narrowest


def test_floors_keep_flops_mode_from_squeezing() -> None:
    planner = Planner(zoo.build("vgg16", (32, 32, 3), 10), WidthRule(min_width=24))
    for seed in range(3):
        assert min(planner.plan(Budget.fractions(flops=1 - 0.8967), PlanMode.FLOPS, seed).widths.values()) >= 24


def test_a_trace_tells_every_cut(planner: Planner) -> None:
    """Each cut takes a tenth of its group, rounded down, so the cuts give the widths."""
    trace = planner.trace(Budget.fractions(parameters=0.5), PlanMode.PARAMETERS, 7)
    for name, width in trace.plan.unpruned_widths.items():
        for _ in range(trace.cuts.count(name)):
            width -= max(1, width // 10)
        assert width == trace.plan.widths[name]
    assert planner.trace(Budget.fractions(parameters=0.5), PlanMode.UNIFORM, 7).cuts == ()


@pytest.mark.parametrize("policy", [{"mode": PlanMode.DEVICE}, {"mode": PlanMode.FLOPS, "search": SearchPolicy()}])
def test_the_papers_algorithm_has_its_own_modes_and_no_search(policy: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        PlanPolicy(**policy, literal=True)
    assert (caught.value.reason, caught.value.field) == ("POLICY_INVALID", "policy.literal")
