"""Targets that are pruned with their weights, from the job to its report."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from secateur.core import devices
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder
from secateur.core.jobs import JobStage
from secateur.core.planning import Plan
from secateur.core.resources import Budget
from secateur.core.specs import Criterion, HybridPolicy, JobSpec, Order, PlanMode, PlanPolicy, Target
from secateur.workers.engine.checkpoints import Checkpoint, Memory
from secateur.workers.engine.measure import figure_of
from secateur.workers.engine.pipeline import run_target
from tests.support.runs import Run
from tests.support.training import QUICK, quick_job, residual_network

GRAPH = residual_network()
CHANCE = 0.1
EPOCHS = 4
HALF = Budget.fractions(flops=0.5)


def job(*budgets: Budget, hybrid: HybridPolicy | None = None, graph: LayerGraph = GRAPH, **policy: Any) -> JobSpec:
    """A job with a target for each budget."""
    options = PlanPolicy(PlanMode.HYBRID, hybrid=hybrid or HybridPolicy(), **policy)
    spec = quick_job(budgets[0], recipe=replace(QUICK, epochs=EPOCHS), graph=graph, policy=options)
    return replace(spec, targets=tuple(Target(devices.get("stm32f746"), budget) for budget in budgets))


def plan_of(run: Run) -> Plan:
    assert run.report.met, run.report.message
    assert run.report.plan is not None
    return run.report.plan


@pytest.fixture(scope="module")
def kept() -> Memory:
    return Memory()


@pytest.fixture(scope="module")
def pair(kept: Memory) -> list[Run]:
    spec = job(HALF, Budget.of(flash_bytes=9_000, ram_bytes=5_000))
    return [Run(GRAPH, spec, kept, index=index) for index in (0, 1)]


@pytest.fixture(scope="module")
def coupled(pair: list[Run], kept: Memory) -> Run:  # after the pair, which trains the unpruned network of both
    policy = HybridPolicy(Criterion.BATCH_NORM_SCALE, Order.CHANNELS_FIRST, alpha=1.2)
    return Run(GRAPH, job(HALF, hybrid=policy, residual="coupled"), kept)


def test_limits_are_kept(pair: list[Run]) -> None:
    flops, sizes = (plan_of(run).cost for run in pair)
    assert flops.flops <= 0.5 * pair[0].report.unpruned_cost.flops
    assert sizes.flash_bytes <= 9_000


def test_the_plan_says_which_blocks_go_and_which_channels_stay(pair: list[Run]) -> None:
    for run in pair:
        plan = plan_of(run)
        assert {name: len(channels) for name, channels in plan.indices.items()} == plan.widths
        assert all(list(channels) == sorted(set(channels)) for channels in plan.indices.values())
        assert f"Dropped {len(plan.dropped)} blocks, kept {sum(plan.widths.values())} of " in run.report.message
    assert any(plan_of(run).dropped for run in pair)


def test_the_targets_of_a_job_share_the_unpruned_network(pair: list[Run]) -> None:
    first, second = pair
    unpruned = f"Training the unpruned network for {EPOCHS} epochs"
    fine_tuning = f"Fine-tuning for {EPOCHS // 2} epochs"
    assert [message for stage, message in first.steps if stage is JobStage.TRAINING] == [unpruned, fine_tuning]
    assert [message for stage, message in second.steps if stage is JobStage.TRAINING] == [fine_tuning]
    assert [step.epochs for step in first.progress] == [EPOCHS] * EPOCHS + [EPOCHS // 2] * (EPOCHS // 2)


def test_weights_are_inherited(pair: list[Run]) -> None:
    for run in pair:
        figures = {figure.name: figure for figure in run.report.measurements}
        unpruned, one_shot = figures["unpruned_validation_accuracy"], figures["one_shot_validation_accuracy"]
        assert unpruned.value > 0.9
        assert 3 * CHANCE < one_shot.value <= unpruned.value
        assert all(float(other) <= round(one_shot.value, 4) for other in re.findall(r"(0\.\d+) at", one_shot.method))
        assert figures["validation_accuracy"].value > one_shot.value
    assert any("the best of: " in figure.method for figure in pair[0].report.measurements)
    assert len({figure_of(run.report.measurements, "unpruned_validation_accuracy") for run in pair}) == 1


def test_streams_of_residual_networks_shrink_where_they_may(pair: list[Run], coupled: Run) -> None:
    assert "stem" in plan_of(coupled).indices
    assert not any("stem" in plan_of(run).indices for run in pair)
    assert len(plan_of(coupled).indices["stem"]) < 16
    assert figure_of(coupled.report.measurements, "one_shot_validation_accuracy") > 3 * CHANCE


def test_criterion_and_base_of_depth_are_those_of_the_policy(coupled: Run) -> None:
    assert "by batch_norm_scale (alpha 1.2)" in coupled.report.message
    assert [message for message in coupled.messages if message.startswith("Inheriting")] == [
        f"Inheriting weights, 1 of 1: alpha 1.2, {len(plan_of(coupled).dropped)} blocks dropped"
    ]


def test_an_unsuitable_criterion_is_refused_before_anything_is_trained() -> None:
    net = Builder("plain", (8, 8, 1))
    net.add("Conv2D", "conv", filters=8, kernel_size=3, activation="relu")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    graph = net.build()
    stages: list[JobStage] = []
    spec = job(HALF, hybrid=HybridPolicy(Criterion.BATCH_NORM_SCALE), graph=graph)
    with pytest.raises(InvalidArgument, match="'conv'") as refusal:
        run_target(graph, spec, 0, put=lambda _: "", on_stage=lambda stage, _: stages.append(stage))
    assert refusal.value.reason == "CRITERION_UNSUITABLE"
    assert set(stages) == {JobStage.PLANNING}


def test_an_infeasible_target_trains_nothing_and_names_the_limit() -> None:
    run = Run(GRAPH, job(Budget.of(flash_bytes=1_000)))
    assert run.stages == [JobStage.PLANNING]
    assert not run.report.met
    assert not run.blobs
    assert run.report.message.startswith("flash_bytes is ")
    assert "at most 1,000" in run.report.message


class _Sizes(Memory):
    """Notes how many weights every training has ended with."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def write(self, key: str, data: bytes, *, shared: bool = False) -> None:
        super().write(key, data, shared=shared)
        checkpoint = Checkpoint.read(data)
        if checkpoint.finished:
            self.found.append(sum(weights.size for weights in checkpoint.best))


def test_several_rounds_prune_little_by_little_down_to_the_smallest() -> None:
    least = 6_346  # a number that its share of the whole, times the whole, falls short of
    # Steps so coarse that the last round has nothing to cut: it is fine-tuned after all the same.
    sizes = _Sizes()
    run = Run(GRAPH, job(Budget.of(parameters=least), hybrid=HybridPolicy(rounds=3), min_width=10, round_to=5), sizes)
    plan = plan_of(run)
    assert not plan.dropped
    assert set(plan.widths.values()) == {10}
    assert plan.cost.parameters == least
    assert {group: len(kept) for group, kept in plan.indices.items()} == dict(plan.widths)
    assert all(len(set(kept)) == len(kept) and max(kept) < plan.unpruned_widths[group] for group, kept in plan.indices.items())
    assert any(kept != tuple(range(10)) for kept in plan.indices.values()), "of the unpruned network, not of a round's"
    work = [message for message in run.messages if "ine-tuning" in message or "Training" in message]
    assert [message.split(" for ")[0] for message in work] == ["Training the unpruned network", *["Fine-tuning"] * 3]
    assert [step.epochs for step in run.progress] == [EPOCHS] * EPOCHS + 3 * [EPOCHS // 2] * (EPOCHS // 2)
    whole, first, second, third = sizes.found
    assert whole > first > second == third
    assert figure_of(run.report.measurements, "validation_accuracy") > 0.5


def test_several_rounds_leave_layers_alone() -> None:
    assert HybridPolicy(rounds=2).alpha == 1
    with pytest.raises(InvalidArgument, match=r"alpha=1\.2") as refused:
        HybridPolicy(rounds=2, alpha=1.2)
    assert (refused.value.reason, refused.value.field) == ("POLICY_INVALID", "policy.hybrid.alpha")
    with pytest.raises(InvalidArgument, match="rounds lies between"):
        HybridPolicy(rounds=21)
