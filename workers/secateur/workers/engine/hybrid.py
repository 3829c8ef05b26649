"""Hybrid pruning (seed B): train, cut blocks and channels at once, keep the weights of what stays, fine-tune once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import keras

from secateur.core import recipes
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import ALPHAS, BudgetInfeasible, Plan, Planner, groups_to_score
from secateur.core.planning.hybrid_scores import Scores
from secateur.core.reports import Measurement
from secateur.core.resources import Budget
from secateur.core.specs import PlanMode
from secateur.workers.engine.criteria import channel_scores
from secateur.workers.engine.datasets import Split
from secateur.workers.engine.inherit import inherit
from secateur.workers.engine.keras_files import outputs_of
from secateur.workers.engine.measure import machine
from secateur.workers.engine.proposals import Proposal, Task, Unpruned
from secateur.workers.engine.recalibrate import recalibrate

SCORING_IMAGES: Final = 128
"""Training images by which channels are scored where the criterion needs some: the rank of a map hardly depends on them."""
RECALIBRATION_IMAGES: Final = 512
"""Training images from which a pruned network takes the statistics of its normalisations."""


@dataclass(frozen=True, slots=True)
class _Pruned:
    """A plan with inherited weights that nothing was done to but to recalibrate its normalisations."""

    alpha: float
    plan: Plan
    model: keras.Model
    accuracy: float


class Hybrid:
    """Hybrid plans of one target. The network is trained for the first proposal, unless a job on its family has done so.

    Args:
        task: The target, of a job in mode HYBRID.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._policy = task.spec.policy.hybrid
        self._planner = Planner.of(task.graph, task.spec.policy, task.profile)
        self._unpruned: Unpruned | None = None
        self._scores: Scores | None = None

    def propose(self, budget: Budget) -> Proposal:
        """Tries the base of depth that the policy names, or several, and takes the one that does best before fine-tuning.

        "Best" is by accuracy on the validation split.

        Raises:
            BudgetInfeasible: If no base of depth keeps the limits.
            InvalidArgument: CRITERION_UNSUITABLE, before anything is trained.
            FailedPrecondition: TRAINING_DIVERGED.
        """
        unpruned = self._trained()
        alphas = (self._policy.alpha,) if self._policy.alpha is not None else ALPHAS
        plans = self._plans(budget, alphas, self._scored(unpruned.model))
        tried = []
        for number, (alpha, plan) in enumerate(plans.items(), start=1):
            step = f"Inheriting weights, {number} of {len(plans)}: alpha {alpha:g}, {len(plan.dropped)} blocks dropped"
            self._task.on_stage(JobStage.PLANNING, step)
            tried.append(self._pruned(alpha, plan, unpruned.model))
        best = max(tried, key=lambda pruned: pruned.accuracy)
        recipe = recipes.fine_tuning(self._task.spec.recipe)
        figures = (_figure_before(unpruned), _figure_after(best, tried))
        return Proposal(best.plan, best.model, recipe, measurements=figures, note=self._note(best))

    def _trained(self) -> Unpruned:
        if self._unpruned is None:
            # An unsuitable criterion is refused before anything is trained.
            scored(self._task, self._task.fresh(), self._task.graph, images=1)
            self._unpruned = self._task.unpruned()
        return self._unpruned

    def _scored(self, model: keras.Model) -> Scores:
        if self._scores is None:
            self._task.on_stage(JobStage.PLANNING, f"Scoring channels by {self._policy.criterion}")
            self._scores = scored(self._task, model, self._task.graph)
        return self._scores

    def _plans(self, budget: Budget, alphas: tuple[float, ...], scores: Scores) -> dict[float, Plan]:
        """Returns the plan of every base of depth that keeps the budget; one plan once."""
        found: dict[float, Plan] = {}
        refused: BudgetInfeasible | None = None
        for alpha in alphas:
            try:
                plan = self._planner.plan(budget, PlanMode.HYBRID, self._task.spec.seed, scores=scores, alpha=alpha)
            except BudgetInfeasible as refusal:  # only with an alpha of 1 or 2 that others do better than
                refused = refusal
                continue
            if plan not in found.values():
                found[alpha] = plan
        if not found:
            assert refused is not None
            raise refused
        return found

    def _pruned(self, alpha: float, plan: Plan, unpruned: keras.Model) -> _Pruned:
        data = self._task.data
        model = inherit(unpruned, plan.shallow(self._task.graph), plan.indices)
        recalibrate(model, data.train.first(RECALIBRATION_IMAGES))
        return _Pruned(alpha, plan, model, _accuracy(model, data.validation))

    def _note(self, best: _Pruned) -> str:
        plan = best.plan
        kept, full = sum(plan.widths.values()), sum(plan.unpruned_widths.values())
        return (
            f"Dropped {len(plan.dropped)} blocks, kept {kept:,} of {full:,} channels of the others by {self._policy.criterion} "
            f"(alpha {best.alpha:g}) with their weights, and fine-tuned."
        )


def scored(task: Task, model: keras.Model, graph: LayerGraph, *, images: int = SCORING_IMAGES) -> Scores:
    """Scores the channels of a trained network by the criterion of a job.

    Args:
        task: A target of the job.
        model: The network.
        graph: Its layer graph.
        images: Training images for criteria that need some.

    Raises:
        InvalidArgument: CRITERION_UNSUITABLE.
    """
    policy = task.spec.policy
    groups = groups_to_score(graph, policy.residual)
    return channel_scores(
        policy.hybrid.criterion, model, graph, groups, images=task.data.train.first(images), seed=task.spec.seed
    )


def _figure_before(unpruned: Unpruned) -> Measurement:
    best = unpruned.training.best
    method = f"Keras on the validation split, the unpruned network, epoch {best.number}"
    return Measurement("unpruned_validation_accuracy", best.accuracy, "", method, machine())


def _figure_after(best: _Pruned, tried: list[_Pruned]) -> Measurement:
    others = ", ".join(f"{pruned.accuracy:.4f} at {pruned.alpha:g}" for pruned in tried if pruned is not best)
    method = (
        "Keras on the validation split, weights inherited and normalisations recalibrated on training images, before "
        f"fine-tuning; alpha {best.alpha:g}" + (f", the best of: {others}" if others else "")
    )
    return Measurement("one_shot_validation_accuracy", best.accuracy, "", method, machine())


def _accuracy(model: keras.Model, split: Split) -> float:
    return float((outputs_of(model, split.images).argmax(axis=1) == split.labels).mean())
