"""Where the next plan of a target comes from: one seam for planners, searches and hybrid pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import keras

from secateur.core.devices import DeviceProfile
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import Plan, Planner
from secateur.core.reports import Measurement, Progress, SearchCandidate
from secateur.core.resources import Budget
from secateur.core.specs import JobSpec, Recipe
from secateur.workers.engine.build import build_model, ends_in_softmax
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.train import Epoch, Training, train

StageListener = Callable[[JobStage, str], None]
ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One target of a job and what it takes to work on it.

    Args:
        graph: The unpruned network.
        spec: The job.
        index: Which of its targets.
        data: Its data set.
        on_stage: Called when the target enters a stage or makes a step, with one sentence for people.
        on_progress: Called after every epoch of a training that counts.
    """

    graph: LayerGraph
    spec: JobSpec
    index: int
    data: Data
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

    def train(self, model: keras.Model, recipe: Recipe) -> Training:
        """Trains a network under the seed of the job and reports every epoch. Raises FailedPrecondition; see `train`."""

        def report(epoch: Epoch) -> None:
            self.on_progress(
                Progress(self.index, epoch.number, epoch.of, epoch.loss, epoch.accuracy, eta_seconds=epoch.eta_seconds)
            )

        return train(model, self.data, recipe, seed=self.spec.seed, probabilities=self.probabilities, on_epoch=report)

    def try_out(self, model: keras.Model, recipe: Recipe) -> Training:
        """Trains a network as `train` does, but reports nothing: this is not the training that the job waits for."""
        return train(model, self.data, recipe, seed=self.spec.seed, probabilities=self.probabilities)


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
        return Proposal(plan, self._task.fresh(plan), spec.recipe)
