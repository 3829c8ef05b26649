"""Which kind of worker a job needs. The answer is the name of the queue that its message goes to."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secateur.core import recipes
from secateur.core.specs import JobSpec, PlanMode

GPU_FROM_FLOPS: Final = 1e13
"""A job of so much training needs a GPU. Two CPU cores take about ten minutes for it, and below it a GPU hardly pays: it
compiles every network first."""

_FORWARD: Final = 1
_STEP: Final = 3
"""Forward passes that a step of training costs: one, and the backward pass, which is two (Amodei and Hernandez, "AI and
compute", 2018)."""


class Need(StrEnum):
    """What a job cannot do well without. Each need has a queue of that name."""

    GPU = "gpu"
    CPU = "cpu"


def need_of(spec: JobSpec, *, macs: int, images: int) -> Need:
    """Returns what a job needs.

    Args:
        spec: The job.
        macs: Multiply-accumulates of one inference of its architecture, unpruned.
        images: Training images of its data set.
    """
    return Need.GPU if training_flops(spec, macs=macs, images=images) >= GPU_FROM_FLOPS else Need.CPU


def training_flops(spec: JobSpec, *, macs: int, images: int) -> int:
    """Estimates the floating-point operations of all trainings of a job, from above.

    Every network counts as unpruned, since a job is routed before it is planned. What only a run can tell is left out: early
    stops, checkpoints to go on from, plans that are made again, and quantization-aware fine-tuning.

    Args:
        spec: The job.
        macs: Multiply-accumulates of one inference of its architecture, unpruned.
        images: Training images of its data set.
    """
    recipe, hybrid = spec.recipe, spec.policy.mode is PlanMode.HYBRID
    taught = _STEP + (_FORWARD if recipe.distillation else 0)  # the unpruned network answers in every step
    passes = len(spec.targets) * _epochs_of_a_target(spec) * taught
    if hybrid or recipe.distillation:
        passes += recipe.epochs * _STEP  # of the unpruned network, once for all targets
    return 2 * macs * images * passes


def _epochs_of_a_target(spec: JobSpec) -> int:
    """Returns the epochs that are trained for one target, those of networks that are not chosen included."""
    recipe, policy = spec.recipe, spec.policy
    if policy.mode is PlanMode.HYBRID:
        return recipes.fine_tuning(recipe).epochs * policy.hybrid.rounds
    search = policy.search
    if search is None or search.finalists == 1:
        return recipe.epochs
    return recipe.epochs + search.finalists * min(recipe.epochs, search.brief_epochs)
