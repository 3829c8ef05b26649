"""Where the next plan of a target comes from: one seam for planners, searches and hybrid pruning."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import keras

from secateur.core import recipes
from secateur.core.cost import cost_of
from secateur.core.devices import DeviceProfile
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import Plan, Planner
from secateur.core.reports import Measurement, Progress, SearchCandidate
from secateur.core.resources import Budget
from secateur.core.serial import digest_of, to_data
from secateur.core.specs import JobSpec, Recipe
from secateur.workers.engine.build import build_model, ends_in_softmax
from secateur.workers.engine.checkpoints import Checkpoint, Checkpoints, Memory
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.records import Epoch, Step, Training
from secateur.workers.engine.train import train

StageListener = Callable[[JobStage, str], None]
ProgressListener = Callable[[Progress], None]


_log = logging.getLogger(__name__)

UNPRUNED: Final = "unpruned"
"""What a training of the unpruned network starts from."""


@dataclass(frozen=True, slots=True)
class Unpruned:
    """The trained network that weights are inherited from, or that teaches.

    Args:
        model: The network.
        training: What its training reached.
    """

    model: keras.Model
    training: Training


@dataclass(frozen=True, slots=True)
class Task:
    """One target of a job and what it takes to work on it.

    Args:
        graph: The unpruned network.
        spec: The job.
        index: Which of its targets.
        data: Its data set.
        checkpoints: Where trainings are kept, so that an interrupted job goes on where it was.
        on_stage: Called when the target enters a stage or makes a step, with one sentence for people.
        on_progress: Called after every epoch of a training that counts, and every few seconds of a long one.
    """

    graph: LayerGraph
    spec: JobSpec
    index: int
    data: Data
    checkpoints: Checkpoints = field(default_factory=Memory)
    on_stage: StageListener = lambda _stage, _message: None
    on_progress: ProgressListener = lambda _: None

    @property
    def profile(self) -> DeviceProfile | None:
        """Device class of the target."""
        return self.spec.targets[self.index].device_profile

    @property
    def probabilities(self) -> bool:
        """Whether networks of the job return probabilities instead of logits."""
        return ends_in_softmax(self.graph)

    def fresh(self, plan: Plan | None = None) -> keras.Model:
        """Builds the network of a plan, or the unpruned one, with the weights that the seed of the job gives it."""
        keras.utils.clear_session()
        keras.utils.set_random_seed(self.spec.seed)
        return build_model(self.graph, plan)

    def train(self, model: keras.Model, recipe: Recipe, *, start: str, reported: bool = True) -> Training:
        """Trains a network under the seed of the job, or takes up its training where an earlier attempt left it.

        Args:
            model: The network.
            recipe: How to train it. Where it distils, the unpruned network is trained first and teaches.
            start: Names the network and the weights that it has now: of two trainings of a job with the same recipe, those with
                the same start are taken for the same.
            reported: Whether its epochs are the progress of the job.

        Raises:
            FailedPrecondition: TRAINING_DIVERGED.
        """
        teacher = self.unpruned().model if recipe.distillation and start != UNPRUNED else None
        key = self._key(recipe, start)
        shared = start == UNPRUNED

        def keep(checkpoint: Checkpoint) -> None:
            # What other jobs may use is shared once it is whole; until then it is this job's own.
            self.checkpoints.write(key, checkpoint.write(), shared=shared and checkpoint.finished)

        return train(
            model,
            self.data,
            recipe,
            seed=self.spec.seed,
            probabilities=self.probabilities,
            teacher=teacher,
            resume=self._checkpoint(key),
            on_epoch=self._on_epoch if reported else lambda _: None,
            on_step=self._on_step if reported else lambda _: None,
            on_checkpoint=keep,
        )

    def from_scratch(self, plan: Plan) -> Recipe:
        """Returns the recipe by which the network of a plan is trained from scratch."""
        unpruned = cost_of(self.graph).macs
        return recipes.for_pruned(self.spec.recipe, macs=plan.cost.macs, unpruned_macs=unpruned)

    def unpruned(self) -> Unpruned:
        """Returns the unpruned network, trained by the recipe of the job; jobs on one family share it.

        Raises:
            FailedPrecondition: TRAINING_DIVERGED.
        """
        recipe = replace(self.spec.recipe, distillation=0.0)
        model = self.fresh()
        known = self._checkpoint(self._key(recipe, UNPRUNED))
        if known is None or not known.finished:
            self.on_stage(JobStage.TRAINING, f"Training the unpruned network for {recipe.epochs} epochs")
        return Unpruned(model, self.train(model, recipe, start=UNPRUNED))

    def _key(self, recipe: Recipe, start: str) -> str:
        return digest_of(
            {
                "graph": self.graph.digest,
                "start": start,
                "dataset": self.spec.dataset,
                "recipe": to_data(recipe),
                "seed": self.spec.seed,
                "toolchain": f"keras {keras.__version__} on {keras.backend.backend()}",
            }
        )

    def _checkpoint(self, key: str) -> Checkpoint | None:
        data = self.checkpoints.read(key)
        try:
            return Checkpoint.read(data) if data else None
        except InvalidArgument as error:  # of another version, say: training again costs time, failing costs the job
            _log.warning("A checkpoint is left out: %s", error.message)
            return None

    def _on_epoch(self, epoch: Epoch) -> None:
        self.on_progress(
            Progress(
                self.index,
                epoch.number,
                epoch.of,
                epoch.loss,
                epoch.accuracy,
                eta_seconds=epoch.eta_seconds,
                steps=epoch.steps,
                images_per_second=epoch.images_per_second,
                validation_loss=epoch.validation_loss,
                learning_rate=epoch.learning_rate,
            )
        )

    def _on_step(self, step: Step) -> None:
        before = step.before
        self.on_progress(
            Progress(
                self.index,
                before.number if before else 0,
                step.epochs,
                step.loss,
                before.accuracy if before else 0.0,
                eta_seconds=step.eta_seconds,
                step=step.number,
                steps=step.of,
                images_per_second=step.images_per_second,
                validation_loss=before.validation_loss if before else 0.0,
                learning_rate=step.learning_rate,
            )
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan and the network to train for it.

    Args:
        plan: The plan.
        model: Its network, with the weights that its training starts from.
        recipe: How to train it.
        is_smallest: Whether no plan keeps the budget, so that this one is at the smallest reachable value of what binds.
        measurements: What was measured on the way to it.
        candidates: What a search looked at, best first.
        note: How it was found, for people: a sentence, or nothing where there is nothing to say.
    """

    plan: Plan
    model: keras.Model
    recipe: Recipe
    is_smallest: bool = False
    measurements: tuple[Measurement, ...] = ()
    candidates: tuple[SearchCandidate, ...] = ()
    note: str = ""


class Source(Protocol):
    """Makes proposals for one target."""

    def propose(self, budget: Budget) -> Proposal:
        """Returns the proposal for a budget; the same source gives the same one for the same budget.

        Args:
            budget: Absolute limits, tightened where a measurement missed one.

        Raises:
            BudgetInfeasible: If the limits cannot all be kept; it carries the nearest plan.
        """
        ...


class Planned:
    """One plan per budget, trained from scratch.

    Args:
        task: What it is for.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._planner = Planner.of(task.graph, task.spec.policy, task.profile)

    def propose(self, budget: Budget) -> Proposal:
        """Plans in the mode of the policy. Mode HYBRID draws which blocks go, as a quote does."""
        spec = self._task.spec
        plan = self._planner.plan(budget, spec.policy.mode, spec.seed)
        return Proposal(plan, self._task.fresh(plan), self._task.from_scratch(plan))
