"""Creates jobs: checks what is asked for, then creates many at once."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import Any, Final

from cachetools import LRUCache, cached

from secateur.core import datasets, recipes
from secateur.core.datasets import Dataset, DatasetName
from secateur.core.errors import FailedPrecondition, Infeasible, SecateurError
from secateur.core.graph import LayerGraph
from secateur.core.jobs import Scheduling
from secateur.core.missing import missing
from secateur.core.planning import TargetQuote
from secateur.core.serial import digest_of, to_data
from secateur.core.specs import JobSpec, PlanMode, PlanPolicy, Recipe, Target
from secateur.server.datasets.handlers import find_dataset
from secateur.server.fields import under
from secateur.server.plans.handlers import AskedTarget, quote_each, with_profiles
from secateur.store import Store
from secateur.store.creation import CREATE, NewJob
from secateur.store.records import ArchitectureRecord, JobRecord
from secateur.store.requests import RequestKey
from secateur.store.unit_of_work import Snapshot

TOOLCHAIN: Final = f"secateur {importlib.metadata.version('secateur-server')}"
"""Versions that may change the result of equal work."""
_CHECKED: Final[LRUCache[tuple[Hashable, ...], None]] = LRUCache(4096)
"""Networks and targets known to be feasible, so that not every request plans them anew."""


@dataclass(frozen=True, slots=True)
class RecipeChoice:
    """A recipe by name, and what to override of it.

    Args:
        name: Its name; empty for the default.
        overrides: Values of fields of `Recipe` that take the place of the recipe's own.
        augmentation: The same for the fields of its `Augmentation`.
    """

    name: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a client asks for, names resolved to ids but nothing looked up: the part that an idempotency key stands for.

    Args:
        project: Project that the job is made in.
        architecture: Project and id of the architecture.
        dataset: The data set.
        targets: What to make a model for.
        policy: How to plan.
        recipe: How to train.
        seed: Seed of planner, initialisation, splits and shuffling.
        display_name: Name for people.
        labels: Labels.
        scheduling: When it runs, and for how long.
    """

    project: str
    architecture: tuple[str, str]
    dataset: DatasetName
    targets: tuple[AskedTarget, ...]
    policy: PlanPolicy
    recipe: RecipeChoice
    seed: int
    display_name: str
    labels: Mapping[str, str]
    scheduling: Scheduling = field(default_factory=Scheduling)


@dataclass(frozen=True, slots=True)
class CreateJob:
    """A request to create a job.

    Args:
        job: What is asked for.
        request_id: Idempotency key; empty for none.
        validate_only: Only check and answer.
    """

    job: JobRequest
    request_id: str
    validate_only: bool


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A job that is not created yet: whether its targets can be met is not known, and finding out takes a while.

    Args:
        graph: Its network.
        targets: What to make a model for.
        policy: How to plan.
        seed: Seed of the planner.
    """

    graph: LayerGraph
    targets: tuple[Target, ...]
    policy: PlanPolicy
    seed: int

    def check(self, *, seconds: float) -> None:
        """Finds out whether its targets can be met; then the job can be asked for again.

        Args:
            seconds: How long that may take.

        Raises:
            QuotaExceeded: PLAN_TIME_EXCEEDED.
            FailedPrecondition: BUDGET_INFEASIBLE or PRUNING_NO_EFFECT, naming the target.
            InvalidArgument: What is wrong with a target; see `quote_each`.
        """
        with under("job"):
            _check_targets(self.graph, self.targets, self.policy, self.seed, seconds=seconds)

    @property
    def is_known(self) -> bool:
        """Whether its targets are known to be feasible."""
        return _check_key(self.graph, self.targets, self.policy, self.seed) in _CHECKED


def create_jobs(
    commands: Sequence[CreateJob],
    *,
    store: Store,
    limits: Scheduling = Scheduling(),  # noqa: B008 - immutable
) -> list[JobRecord | Unchecked | SecateurError]:
    """Checks everything, then creates the jobs, their first events and their queue messages in one transaction.

    Args:
        commands: What is asked for.
        store: Where jobs are.
        limits: How long a job may wait and run at most.

    Returns:
        For each the new job; or the one that does the same work already, or that the same `request_id` made; with
        `validate_only` the job as it would be made, with an empty id; or what has to be checked first, at length; or why it
        is refused:

        - NotFound: ARCHITECTURE_NOT_FOUND, DATASET_NOT_FOUND or DEVICE_PROFILE_NOT_FOUND;
        - InvalidArgument: DATASET_UNKNOWN, DATASET_SHAPE_MISMATCH, DATASET_CLASS_MISSING, DEVICE_PROFILE_UNKNOWN,
          RECIPE_UNKNOWN, RECIPE_INVALID, AUGMENTATION_INVALID, BUDGET_EMPTY or REQUEST_ID_REUSED;
        - QuotaExceeded: QUEUED_JOBS_QUOTA.
    """
    with store.snapshot() as work:
        read = cache(work.architectures.get)
        prepared = [_prepare(command, limits, work, read) for command in commands]
    wanted = [each for each in prepared if isinstance(each, NewJob)]
    if not wanted:
        return [each for each in prepared if not isinstance(each, NewJob)]
    with store.unit_of_work() as work:
        made = iter(work.jobs.create_all(wanted))
        work.commit()
    return [next(made) if isinstance(each, NewJob) else each for each in prepared]


def _prepare(
    command: CreateJob, limits: Scheduling, work: Snapshot, read: Callable[[str, str], ArchitectureRecord]
) -> NewJob | JobRecord | Unchecked | SecateurError:
    request = command.job
    fingerprint = digest_of(to_data(request))
    try:
        with under("job"):
            spec = _resolve(request, work, read)
        if isinstance(spec, JobSpec):
            scheduling = _within(request.scheduling, limits)
            new = NewJob(
                request.project,
                spec,
                work_key=spec.work_key(TOOLCHAIN),
                display_name=request.display_name,
                labels=request.labels,
                request_id=command.request_id,
                fingerprint=fingerprint,
                scheduling=scheduling,
            )
            return new.record("", datetime.now(UTC), version=0) if command.validate_only else new
        reply: Unchecked | SecateurError = spec
    except SecateurError as error:
        reply = error
    if command.validate_only:
        return reply
    # What an earlier answer was made from, such as a device profile, may be gone by now: the answer stands.
    try:
        key = RequestKey(request.project, CREATE, command.request_id)
        return work.jobs.requested(key, fingerprint) or reply
    except SecateurError as error:
        return error


def _within(asked: Scheduling, limits: Scheduling) -> Scheduling:
    def least(*seconds: float | None) -> float | None:
        return min((each for each in seconds if each is not None), default=None)

    return Scheduling(
        asked.priority,
        max_pending_seconds=least(asked.max_pending_seconds, limits.max_pending_seconds),
        max_run_seconds=least(asked.max_run_seconds, limits.max_run_seconds),
    )


def _resolve(request: JobRequest, work: Snapshot, read: Callable[[str, str], ArchitectureRecord]) -> JobSpec | Unchecked:
    owner, architecture_id = request.architecture
    if owner != request.project:  # what another project has is not to be told from what nobody has
        raise missing("architectures", request.project, f"one of project {owner}", field="architecture")
    architecture = read(owner, architecture_id)
    targets = with_profiles(request.targets, request.project, work)
    dataset = find_dataset(request.dataset, request.project, work)
    datasets.check_fits(architecture.graph, dataset.dataset)
    recipe = _recipe(request.recipe, dataset.dataset)
    check = Unchecked(architecture.graph, targets, request.policy, request.seed)
    if not check.is_known:
        return check
    return JobSpec(
        architecture=architecture.digest,
        dataset=datasets.content(dataset.record.digest) if dataset.record else dataset.dataset.name,
        targets=targets,
        recipe=recipe,
        policy=request.policy,
        seed=request.seed,
        dataset_id=dataset.dataset.name if dataset.record else "",
    )


def _recipe(choice: RecipeChoice, dataset: Dataset) -> Recipe:
    recipe = recipes.resolve(choice.name, dataset, augmentation=choice.augmentation, **choice.overrides)
    with under("recipe"):
        datasets.check_augmentation(recipe.augmentation, dataset.input_shape)
        datasets.check_validation(recipe.validation_fraction, dataset)
    return recipe


def _check_key(
    graph: LayerGraph,
    targets: tuple[Target, ...],
    policy: PlanPolicy,
    seed: int,
    *,
    seconds: float = 0,  # noqa: ARG001 - says nothing of the answer
) -> tuple[Hashable, ...]:
    # Whether the smallest network keeps the limits, and whether the unpruned one does, has nothing to do with the seed. Only in
    # mode HYBRID the smallest network itself is drawn.
    return graph.digest, targets, policy, seed if policy.mode is PlanMode.HYBRID else 0


@cached(_CHECKED, key=_check_key, lock=Lock())  # what is refused is not kept
def _check_targets(graph: LayerGraph, targets: tuple[Target, ...], policy: PlanPolicy, seed: int, *, seconds: float) -> None:
    for index, quote in enumerate(quote_each(graph, targets, policy, seed, seconds=seconds)):
        if not quote.feasible:
            raise _infeasible(index, quote)
        if quote.unchanged:
            raise FailedPrecondition(
                "PRUNING_NO_EFFECT",
                f"The unpruned network already keeps every limit of target {index} on its cost, so there is nothing to prune; "
                "deploy it as it is, or ask for less",
                field=f"targets[{index}]",
                metadata={"target_index": str(index)},
            )


def _infeasible(index: int, quote: TargetQuote) -> Infeasible:
    binding = next(limit for limit in quote.limits if limit.resource is quote.binding)
    return Infeasible(
        "BUDGET_INFEASIBLE",
        f"Target {index}: {quote.message}",
        field=f"targets[{index}].budget",
        metadata={
            "target_index": str(index),
            "binding_limit": binding.resource.value,
            "asked": f"{binding.asked:.10g}",
            "smallest_reachable": f"{binding.smallest_reachable:.10g}",
        },
    )
