from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core import devices
from secateur.core.graph import LayerGraph
from secateur.core.planning import Planner, WidthRule, predicted
from secateur.core.reports import Tightening
from secateur.core.resources import Budget, Compliance, Limit, Resource
from secateur.core.specs import PlanMode, ScratchBudget
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.fitting import MAX_TIGHTENINGS, Fitting
from secateur.workers.engine.proposals import Planned, Proposal, Task
from tests.support.training import QUICK, quick_job


def _fitting(graph: LayerGraph, data: Data, budget: Budget, profile: str | None = None) -> tuple[Fitting, Planned]:
    task = Task(graph, quick_job(budget, profile=profile), 0, data)
    return Fitting(task, budget), Planned(task)


def test_a_plan_is_held_against_its_exported_file(graph: LayerGraph, data: Data) -> None:
    ram = Limit(Resource.RAM_BYTES, value=4_000, origin="device_profile")
    fitting, planned = _fitting(graph, data, Budget.of(flash_bytes=12_000).tightened_by([ram]))
    candidate = fitting.next(planned)
    assert candidate.fits
    assert [limit.origin for limit in candidate.compliance] == ["budget", "device_profile"]
    assert {limit.resource: limit.method for limit in candidate.compliance} == {
        Resource.FLASH_BYTES: "bytes of the int8 file",
        Resource.RAM_BYTES: "smallest arena in which TensorFlow Lite Micro starts the int8 file",
    }
    assert candidate.proposal.model.count_params() == candidate.proposal.plan.cost.parameters


def test_a_measured_excess_makes_the_next_plan_smaller_by_it(graph: LayerGraph, data: Data) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(flash_bytes=12_000))
    first = fitting.next(planned)
    missed = Compliance(Resource.FLASH_BYTES, asked=12_000, achieved=12_500, method="bytes of the int8 file")
    assert fitting.tighten(first.proposal.plan, (missed,))
    second = fitting.next(planned)
    assert second.proposal.plan.cost.flash_bytes <= first.proposal.plan.cost.flash_bytes - 500
    assert second.compliance[0].asked == 12_000


def test_every_attempt_is_kept_with_what_it_missed_and_what_that_changed(graph: LayerGraph, data: Data) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(flash_bytes=12_000))
    plan = fitting.next(planned).proposal.plan
    missed = (Compliance(Resource.FLASH_BYTES, asked=12_000, achieved=12_500, method="bytes of the int8 file"),)
    fitting.trained(missed)
    fitting.tighten(plan, missed)
    second = fitting.next(planned)
    first, last = fitting.attempts
    assert (first.plan, first.trained, first.compliance) == (plan.digest, True, missed)
    assert first.tightened == (Tightening(Resource.FLASH_BYTES, plan.cost.flash_bytes - 500),)
    assert (last.plan, last.trained, last.tightened) == (second.proposal.plan.digest, False, ())
    assert last.compliance == second.compliance


@pytest.mark.parametrize("resource", [Resource.PARAMETERS, Resource.ACCURACY])
def test_what_no_smaller_plan_would_correct_is_not_tightened(graph: LayerGraph, data: Data, resource: Resource) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(flash_bytes=12_000))
    first = fitting.next(planned)
    missed = Compliance(resource, asked=1.0, achieved=0.5 if resource.is_floor else 2.0, method="")
    too_large = Compliance(Resource.FLASH_BYTES, asked=12_000, achieved=12_500, method="bytes of the int8 file")
    assert not fitting.tighten(first.proposal.plan, (missed,))
    assert not fitting.tighten(first.proposal.plan, (too_large, missed))


def test_a_board_is_held_to_the_memory_of_a_process_as_it_was_predicted(graph: LayerGraph, data: Data) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(ram_bytes=100_000_000), "raspberrypi4")
    candidate = fitting.next(planned)
    assert candidate.fits
    assert "process" in candidate.compliance[0].method
    expected = predicted(candidate.proposal.plan.cost, devices.get("raspberrypi4"))[Resource.RAM_BYTES]
    assert candidate.compliance[0].achieved == pytest.approx(expected, rel=0.25)  # Python differs from machine to machine
    missed = Compliance(Resource.RAM_BYTES, asked=100_000_000, achieved=101_000_000, method="")
    assert fitting.tighten(candidate.proposal.plan, (missed,))
    assert fitting.attempts[-1].tightened == (Tightening(Resource.RAM_BYTES, expected - 1_000_000),)


def test_a_board_without_room_for_a_process_ends_at_the_smallest_network(graph: LayerGraph, data: Data) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(ram_bytes=1_000_000), "raspberrypi4")
    assert fitting.next(planned).proposal.is_smallest
    assert len(fitting.attempts) == 1


def test_tightening_is_bounded(graph: LayerGraph, data: Data) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(flash_bytes=12_000))
    plan = fitting.next(planned).proposal.plan
    missed = (Compliance(Resource.FLASH_BYTES, asked=12_000, achieved=12_100, method="bytes of the int8 file"),)
    assert [fitting.tighten(plan, missed) for _ in range(MAX_TIGHTENINGS + 1)] == [True] * MAX_TIGHTENINGS + [False]


def test_a_budget_that_no_plan_keeps_ends_at_the_smallest_network(graph: LayerGraph, data: Data) -> None:
    fitting, planned = _fitting(graph, data, Budget.of(flash_bytes=1_000))
    candidate = fitting.next(planned)
    assert candidate.proposal.is_smallest
    assert not candidate.fits
    assert set(candidate.proposal.plan.widths.values()) == {4}


class _Inheriting:
    """Proposes plans that say which channels stay, as of a trained network."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._planner = Planner(task.graph, WidthRule())

    def propose(self, budget: Budget) -> Proposal:
        scores = self._planner.hybrid.random_scores(0)
        plan = self._planner.plan(budget, PlanMode.HYBRID, 0, scores=scores)
        return Proposal(plan, self._task.fresh(plan), self._task.spec.recipe)


def test_the_smallest_network_fits_after_all_where_a_measurement_asked_for_less_and_is_trained_from_scratch(
    graph: LayerGraph, data: Data
) -> None:
    budget = Budget.of(flash_bytes=12_000)
    task = Task(graph, quick_job(budget, recipe=replace(QUICK, scratch=ScratchBudget.COMPUTE)), 0, data)
    fitting, source = Fitting(task, budget), _Inheriting(task)
    plan = fitting.next(source).proposal.plan
    assert plan.indices
    missed = Compliance(Resource.FLASH_BYTES, asked=12_000, achieved=1_000_000, method="bytes of the int8 file")
    assert fitting.tighten(plan, (missed,))
    smallest = fitting.next(source)
    assert smallest.fits
    assert smallest.proposal.is_smallest
    assert not smallest.proposal.plan.indices
    assert smallest.proposal.recipe.epochs > 2 * QUICK.epochs
