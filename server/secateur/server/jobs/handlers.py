"""Creates, shows and cancels jobs."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from cachetools import LRUCache, cached

from secateur.core import datasets, recipes
from secateur.core.datasets import Dataset, DatasetName
from secateur.core.errors import FailedPrecondition, Infeasible, NotFound
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState, Scheduling, check_retry
from secateur.core.planning import TargetQuote
from secateur.core.serial import digest_of, to_data
from secateur.core.specs import JobSpec, PlanMode, PlanPolicy, Recipe, Target
from secateur.server.datasets.handlers import find_dataset
from secateur.server.fields import under
from secateur.server.lists import ListRows
from secateur.server.plans.handlers import AskedTarget, quote_each, with_profiles
from secateur.store import Store
from secateur.store.jobs import check_etag
from secateur.store.records import JobRecord, Page
from secateur.store.tables import Deletable
from secateur.store.turns import QueuePlace

TOOLCHAIN: Final = f"secateur {importlib.metadata.version('secateur-server')}"
"""Versions that may change the result of equal work."""
_CHECKS_KEPT: Final = 4096
"""Targets of a network that are not checked anew for every request."""


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
class JobInQueue:
    """A job, and where it stands in the queue if it waits."""

    job: JobRecord
    place: QueuePlace | None


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
class RetryJob:
    """A request to do the work of a job again.

    Args:
        project: Project of the job.
        job: Id of the job.
        etag: What the job's etag has to be still; empty for anything.
        request_id: Idempotency key; empty for none.
    """

    project: str
    job: str
    etag: str
    request_id: str


def create_job(command: CreateJob, *, store: Store, limits: Scheduling = Scheduling()) -> JobRecord:  # noqa: B008 - immutable
    """Checks everything, then creates the job, its first event and its queue message in one transaction.

    Args:
        command: What is asked for.
        store: Where jobs are.
        limits: How long a job may wait and run at most.

    Returns:
        The new job; or the one that does the same work already, or that the same `request_id` made. With `validate_only`
        the job as it would be made, with an empty id.

    Raises:
        NotFound: ARCHITECTURE_NOT_FOUND, DATASET_NOT_FOUND or DEVICE_PROFILE_NOT_FOUND.
        InvalidArgument: DATASET_UNKNOWN, DATASET_SHAPE_MISMATCH, DEVICE_PROFILE_UNKNOWN, RECIPE_UNKNOWN, RECIPE_INVALID,
            AUGMENTATION_INVALID, BUDGET_EMPTY or REQUEST_ID_REUSED.
        FailedPrecondition: BUDGET_INFEASIBLE or PRUNING_NO_EFFECT, naming the target.
    """
    request = command.job
    fingerprint = digest_of(to_data(request))
    if not command.validate_only:
        # First of all: what the answer was made from, such as a device profile, may be gone by now.
        with store.snapshot() as work:
            answered = work.jobs.requested(request.project, command.request_id, fingerprint)
        if answered is not None:
            return answered
    with under("job"):
        spec = _resolve(request, store=store)
    scheduling = _within(request.scheduling, limits)
    if command.validate_only:
        return _preview(request, spec, scheduling)
    with store.unit_of_work() as work:
        job = work.jobs.create(
            request.project,
            spec,
            display_name=request.display_name,
            labels=request.labels,
            work_key=spec.work_key(TOOLCHAIN),
            request_id=command.request_id,
            fingerprint=fingerprint,
            scheduling=scheduling,
        )
        work.commit()
    return job


def get_job(project: str, job_id: str, *, store: Store) -> JobInQueue:
    """Returns a job.

    Raises:
        NotFound: JOB_NOT_FOUND.
    """
    with store.snapshot() as work:
        return JobInQueue(work.trash.mark(work.jobs.get(project, job_id)), work.jobs.place(job_id))


def list_jobs(query: ListRows, *, store: Store) -> Page[JobRecord]:
    """Returns one page of a project's jobs, newest first unless asked otherwise.

    Raises:
        InvalidArgument: FILTER_INVALID, ORDER_INVALID or PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        page = work.jobs.list(
            query.project,
            page_size=query.page_size,
            page_token=query.page_token,
            filter_text=query.filter_text,
            order_by=query.order_by,
            show_deleted=query.show_deleted,
        )
        return replace(page, items=work.trash.mark_all(page.items))


def cancel_job(project: str, job_id: str, etag: str, *, store: Store) -> JobRecord:
    """Cancels a job: a queued one at once, a running one as soon as its worker notices. A finished one stays as it is.

    Args:
        project: Project of the job.
        job_id: Id of the job.
        etag: What the job's etag has to be still; empty for anything.
        store: Where jobs are.

    Raises:
        NotFound: JOB_NOT_FOUND.
        Conflict: ETAG_MISMATCH.
    """
    with store.unit_of_work() as work:
        job = work.jobs.cancel(project, job_id, etag=etag)
        work.commit()
    return job


def retry_job(command: RetryJob, *, store: Store) -> JobRecord:
    """Does the work of a job that came to nothing again, as a new job: what has ended stays as it ended.

    Returns:
        The new job; or the one that does the same work by now, or that the same `request_id` made.

    Raises:
        NotFound: JOB_NOT_FOUND.
        Conflict: ETAG_MISMATCH.
        FailedPrecondition: JOB_NOT_RETRYABLE, or JOB_DELETED.
        InvalidArgument: REQUEST_ID_REUSED.
    """
    with store.unit_of_work() as work:
        old = work.jobs.get(command.project, command.job)
        check_etag(command.etag, old.etag)
        check_retry(old.state)
        if work.trash.find(Deletable.JOB, command.project, command.job):
            raise FailedPrecondition("JOB_DELETED", f"Undelete the job first. Received: {command.job}", field="name")
        job = work.jobs.create(
            command.project,
            old.spec,
            display_name=old.display_name,
            labels=old.labels,
            work_key=old.spec.work_key(TOOLCHAIN),
            request_id=command.request_id,
            fingerprint=digest_of({"retry": command.job}),
            scheduling=Scheduling(old.priority, old.max_pending_seconds, old.max_run_seconds),
        )
        work.commit()
    return job


def delete_job(project: str, job_id: str, *, allow_missing: bool, keep: timedelta, store: Store) -> JobRecord | None:
    """Deletes a job that has ended, and returns it; None if there is none and that is allowed.

    Raises:
        NotFound: JOB_NOT_FOUND, also if it was deleted before.
        FailedPrecondition: JOB_NOT_FINISHED.
    """
    with store.unit_of_work() as work:
        there = work.trash.delete(Deletable.JOB, project, job_id, keep=keep, allow_missing=allow_missing)
        job = work.trash.mark(work.jobs.get(project, job_id)) if there else None
        work.commit()
    return job


def undelete_job(project: str, job_id: str, *, store: Store) -> JobRecord:
    """Undoes the deletion of a job.

    Raises:
        NotFound: JOB_NOT_FOUND.
        AlreadyExists: JOB_NOT_DELETED.
    """
    with store.unit_of_work() as work:
        work.trash.undelete(Deletable.JOB, project, job_id)
        job = work.jobs.get(project, job_id)
        work.commit()
    return job


def _within(asked: Scheduling, limits: Scheduling) -> Scheduling:
    def least(*seconds: float | None) -> float | None:
        return min((each for each in seconds if each is not None), default=None)

    return Scheduling(
        asked.priority,
        max_pending_seconds=least(asked.max_pending_seconds, limits.max_pending_seconds),
        max_run_seconds=least(asked.max_run_seconds, limits.max_run_seconds),
    )


def _resolve(request: JobRequest, *, store: Store) -> JobSpec:
    owner, architecture_id = request.architecture
    if owner != request.project:  # what another project has is not to be told from what nobody has
        raise NotFound(
            "ARCHITECTURE_NOT_FOUND",
            f"There is no such architecture in project {request.project}. Received: one of project {owner}",
            field="architecture",
        )
    with store.snapshot() as work:
        architecture = work.architectures.get(owner, architecture_id)
        targets = with_profiles(request.targets, request.project, work)
        dataset = find_dataset(request.dataset, request.project, work)
    datasets.check_fits(architecture.graph, dataset.dataset)
    recipe = _recipe(request.recipe, dataset.dataset)
    _check_targets(architecture.graph, targets, request.policy, request.seed)
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
    return recipe


def _check_key(graph: LayerGraph, targets: tuple[Target, ...], policy: PlanPolicy, seed: int) -> tuple[Hashable, ...]:
    # Whether the smallest network keeps the limits, and whether the unpruned one does, has nothing to do with the seed. Only in
    # mode HYBRID the smallest network itself is drawn.
    return graph.digest, targets, policy, seed if policy.mode is PlanMode.HYBRID else 0


@cached(LRUCache(_CHECKS_KEPT), key=_check_key, lock=Lock())  # what is refused is not kept
def _check_targets(graph: LayerGraph, targets: tuple[Target, ...], policy: PlanPolicy, seed: int) -> None:
    for index, quote in enumerate(quote_each(graph, targets, policy, seed)):
        if not quote.feasible:
            raise _infeasible(index, quote)
        if quote.unchanged:
            raise FailedPrecondition(
                "PRUNING_NO_EFFECT",
                f"The unpruned network already meets every limit of target {index}, so there is nothing to prune; "
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


def _preview(request: JobRequest, spec: JobSpec, scheduling: Scheduling) -> JobRecord:
    return JobRecord(
        id="",
        project=request.project,
        display_name=request.display_name,
        labels=dict(request.labels),
        spec=spec,
        state=JobState.QUEUED,
        stage=None,
        attempt=0,
        progress=None,
        cancel_requested=False,
        error_reason="",
        error_message="",
        create_time=datetime.now(UTC),
        start_time=None,
        end_time=None,
        version=0,
        last_sequence=0,
        priority=scheduling.priority,
        max_pending_seconds=scheduling.max_pending_seconds,
        max_run_seconds=scheduling.max_run_seconds,
    )
