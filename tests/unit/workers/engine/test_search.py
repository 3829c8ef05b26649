"""Targets whose plan is searched for, from the job to its report."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from secateur.core import devices
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder
from secateur.core.jobs import JobStage
from secateur.core.planning import Candidate, draw_candidates, ranks
from secateur.core.reports import SearchCandidate
from secateur.core.resources import Budget, Resource
from secateur.core.specs import JobSpec, PlanMode, PlanPolicy, ScratchBudget, SearchPolicy
from tests.support.runs import Run
from tests.support.training import QUICK, quick_job

EPOCHS = 2
SEED = 3
CANDIDATES = 5
FINALISTS = 2
POLICY = PlanPolicy(PlanMode.FLOPS, min_width=1, search=SearchPolicy(CANDIDATES, FINALISTS, brief_epochs=1))
BUDGET = Budget.fractions(flops=0.07)  # tight enough that some floors under the widths keep plans from it
PROXIES = {"synflow", "zico", "naswot"}

Drawn = tuple[Candidate, ...]


def network() -> LayerGraph:
    net = Builder("two_convolutions", (8, 8, 1))
    net.add("Conv2D", "first", filters=16, kernel_size=3, strides=2, activation="relu")
    net.add("Conv2D", "second", filters=32, kernel_size=3, activation="relu")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()


GRAPH = network()


def job(budget: Budget = BUDGET, policy: PlanPolicy = POLICY, epochs: int = EPOCHS) -> JobSpec:
    return replace(quick_job(budget, recipe=replace(QUICK, epochs=epochs), policy=policy, graph=GRAPH), seed=SEED)


def ranked(run: Run) -> list[SearchCandidate]:
    return [row for row in run.report.candidates if row.rank is not None]


def finalists(run: Run) -> list[SearchCandidate]:
    return [row for row in run.report.candidates if row.validation_accuracy is not None]


@pytest.fixture(scope="module")
def searched() -> Run:
    return Run(GRAPH, job())


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw_candidates(GRAPH, BUDGET, POLICY, seed=SEED, profile=devices.get("stm32f746"))


def test_every_plan_that_was_drawn_has_its_row(searched: Run, drawn: Drawn) -> None:
    rows = {row.plan: row for row in searched.report.candidates}
    assert len(searched.report.candidates) == len(drawn) == CANDIDATES
    for candidate in drawn:
        row, cost = rows[candidate.plan.digest], candidate.plan.cost
        assert (row.origin, row.parameters, row.macs) == (candidate.origin, cost.parameters, cost.macs)
        assert row.missed == candidate.missed


def test_plans_that_keep_the_limits_are_scored_and_ranked(searched: Run) -> None:
    rows = [row for row in searched.report.candidates if not row.missed]
    assert all(set(row.scores) == PROXIES for row in rows)
    assert all(math.isfinite(score) for row in rows for score in row.scores.values())
    assert tuple(row.rank for row in rows) == ranks([row.scores for row in rows])


def test_plans_that_miss_a_limit_are_shown_and_go_no_further(searched: Run) -> None:
    missed = [row for row in searched.report.candidates if row.missed]
    assert missed
    for row in missed:
        assert row.missed == (Resource.FLOPS,)
        assert (row.rank, row.measured_fits, row.validation_accuracy, row.chosen) == (None, None, None, False)
        assert not row.scores


def test_the_best_ranked_whose_exports_fit_and_the_uniform_plan_are_trained_briefly(searched: Run, drawn: Drawn) -> None:
    order = [candidate.plan.digest for candidate in drawn]
    fitting = [row for row in ranked(searched) if row.measured_fits]
    best = sorted(fitting, key=lambda row: (row.rank or math.inf, order.index(row.plan)))  # of equals, the first drawn
    (uniform,) = [row for row in fitting if row.origin == "uniform"]
    expected = best[:FINALISTS] if uniform in best[:FINALISTS] else [*best[: FINALISTS - 1], uniform]
    assert {row.plan for row in finalists(searched)} == {row.plan for row in expected}


def test_the_finalist_with_the_best_validation_accuracy_is_trained_in_full(searched: Run) -> None:
    report = searched.report
    (chosen,) = [row for row in report.candidates if row.chosen]
    assert report.plan is not None
    assert chosen == report.candidates[0]
    assert chosen.plan == report.plan.digest
    assert chosen.validation_accuracy == max(row.validation_accuracy or 0 for row in finalists(searched))
    assert report.met, report.message
    number = len(ranked(searched))
    assert f"Chosen among {CANDIDATES} plans: {number} ranked without training, 2 trained briefly." in report.message


def test_people_hear_of_every_step_but_see_only_the_progress_of_the_full_training(searched: Run) -> None:
    messages = [message for stage, message in searched.steps if stage is JobStage.TRAINING]
    assert [message.partition(":")[0] for message in messages] == [
        *(f"Training finalist {number} of {FINALISTS} for 1 epochs" for number in range(1, FINALISTS + 1)),
        f"Training for {EPOCHS} epochs",
    ]
    assert [step.epoch for step in searched.progress] == [*range(1, EPOCHS + 1)]


def test_the_same_job_finds_the_same(searched: Run) -> None:
    again = Run(GRAPH, job())
    assert again.blobs == searched.blobs
    assert again.report.candidates == searched.report.candidates
    assert again.report.plan == searched.report.plan


def test_with_one_finalist_the_ranking_decides() -> None:
    spec = job(Budget.fractions(flops=0.5), replace(POLICY, search=SearchPolicy(2, finalists=1)), epochs=1)
    run = Run(GRAPH, replace(spec, recipe=replace(spec.recipe, scratch=ScratchBudget.COMPUTE)))
    assert not finalists(run)
    (chosen,) = [row for row in run.report.candidates if row.chosen]
    assert chosen.rank == min(row.rank or math.inf for row in ranked(run))
    assert [message for message in run.messages if message.startswith("Training")] == ["Training for 2 epochs"]


def test_an_infeasible_target_trains_nothing() -> None:
    run = Run(GRAPH, job(Budget.of(flash_bytes=1_000)))
    assert set(run.stages) == {JobStage.PLANNING}
    assert not run.report.met
    assert not run.blobs
    assert not run.report.candidates
    assert run.report.message.startswith("flash_bytes is ")
