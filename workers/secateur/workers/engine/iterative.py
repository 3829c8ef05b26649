"""The conventional pipeline: train, rank channels, cut a few, fine-tune, and again until the budget is kept.

What one-shot pruning and training from scratch are held against: the same network is trained several times over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from secateur.core import recipes
from secateur.core.jobs import JobStage
from secateur.core.planning import Plan, Planner
from secateur.core.resources import Budget, Limit
from secateur.core.specs import PlanMode
from secateur.workers.engine.hybrid import RECALIBRATION_IMAGES, scored
from secateur.workers.engine.inherit import inherit
from secateur.workers.engine.proposals import UNPRUNED, Proposal, Task
from secateur.workers.engine.recalibrate import recalibrate

_Indices = Mapping[str, tuple[int, ...]]


class Iterative:
    """Plans of one target, cut in several rounds. The last fine-tuning is the training of the proposal.

    Args:
        task: The target, of a job in mode HYBRID with more than one round.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def propose(self, budget: Budget) -> Proposal:
        """Prunes towards a budget. Every round removes the same share of what is over it.

        Raises:
            BudgetInfeasible: If the limits cannot be kept.
            InvalidArgument: CRITERION_UNSUITABLE, before anything is trained.
            FailedPrecondition: TRAINING_DIVERGED.
        """
        task, spec = self._task, self._task.spec
        rounds = spec.policy.hybrid.rounds
        whole = Planner.of(task.graph, spec.policy, task.profile)
        whole.plan(budget, PlanMode.HYBRID, spec.seed)  # an impossible budget is refused before anything is trained
        scored(task, task.fresh(), task.graph, images=1)  # and so is a criterion
        recipe = recipes.fine_tuning(spec.recipe)
        graph, model, start = task.graph, task.unpruned().model, UNPRUNED
        kept: _Indices = {}
        for number in range(1, rounds + 1):
            task.on_stage(JobStage.PLANNING, f"Cutting channels, round {number} of {rounds}")
            # Not a power of 1 of a quotient: by rounding, that asks for less than the smallest network that keeps the budget.
            limits = budget if number == rounds else _part_of_the_way(budget, whole, number / rounds)
            planner = Planner.of(graph, spec.policy, task.profile)
            step = planner.plan(limits, PlanMode.HYBRID, spec.seed, scores=scored(task, model, graph))
            model = inherit(model, graph, step.indices)
            recalibrate(model, task.data.train.first(RECALIBRATION_IMAGES))
            graph, kept = step.apply(graph), _composed(kept, step.indices)
            plan = _whole_plan(whole, kept, spec.seed)
            if number < rounds:
                task.on_stage(JobStage.TRAINING, f"Fine-tuning for {recipe.epochs} epochs, round {number} of {rounds}")
                start += f", cut to {plan.digest}"  # the plan alone is not enough: a round may cut nothing
                task.train(model, recipe, start=start)
        note = f"Cut in {rounds} rounds by {spec.policy.hybrid.criterion}, fine-tuned for {recipe.epochs} epochs after each."
        return Proposal(plan, model, recipe, note=note)


def _part_of_the_way(budget: Budget, planner: Planner, share: float) -> Budget:
    """Returns the limits of a round: between the unpruned network and the budget, at equal ratios from round to round."""
    limits = planner.limits(budget)
    full = limits.figures(planner.unpruned.cost)
    found = {
        resource: asked if asked >= full[resource] else full[resource] * math.pow(asked / full[resource], share)
        for resource, asked in limits.asked.items()
    }
    return Budget(tuple(Limit(resource, value=value) for resource, value in found.items()))


def _composed(before: _Indices, now: _Indices) -> _Indices:
    """Returns which channels of the unpruned network stay, given which of those that had stayed do."""
    return {
        group: tuple(before[group][index] for index in indices) if group in before else indices
        for group, indices in now.items()
    }


def _whole_plan(planner: Planner, kept: _Indices, seed: int) -> Plan:
    plan = planner.hybrid.record((), {group: len(indices) for group, indices in kept.items()}, seed)
    return replace(plan, indices=kept)
