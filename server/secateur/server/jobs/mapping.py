"""Jobs and their events between proto and domain (job_service.proto)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from google.protobuf import duration_pb2

from secateur.core.datasets import DatasetName
from secateur.core.jobs import JobPriority, JobStage, JobState, Scheduling
from secateur.core.reports import Attempt, Progress, SearchCandidate
from secateur.core.serial import to_data
from secateur.core.specs import OptimizerKind, Recipe, Schedule, ScratchBudget
from secateur.server import names
from secateur.server.fields import under
from secateur.server.jobs.creation import CreateJob, JobRequest, RecipeChoice
from secateur.server.jobs.watch import MAX_WAIT_SECONDS
from secateur.server.plans.mapping import (
    plan_to_proto,
    policy_from_proto,
    policy_to_proto,
    target_to_proto,
    targets_from_proto,
)
from secateur.server.vocabulary import compliance_to_proto, resource_to_proto, timestamp, word_from_proto, word_to_proto
from secateur.store.records import EventRecord, JobRecord, Page, TargetOutcome
from secateur.store.turns import QueuePlace
from secateur.v1 import job_service_pb2

_WORDS: Final[Mapping[str, tuple[Any, str, type[StrEnum]]]] = {
    "optimizer": (job_service_pb2.Optimizer, "OPTIMIZER_", OptimizerKind),
    "schedule": (job_service_pb2.Schedule, "SCHEDULE_", Schedule),
    "scratch": (job_service_pb2.ScratchBudget, "SCRATCH_BUDGET_", ScratchBudget),
}
"""Fields of a recipe that are words: the enum of each in the API, what its names start with, and the words."""

_PRIORITY: Final = "JOB_PRIORITY_"

_ANSWER_SECONDS: Final = 0.5
"""How long before the deadline of a call its wait ends, so that the answer arrives in time."""

_EVENTS_KEPT: Final = 1024
"""Messages of events that are kept for further watchers."""

_RECIPES_KEPT: Final = 256
"""Messages of recipes that are kept: most jobs of a fleet ask for the same."""


def create_from_proto(request: job_service_pb2.CreateJobRequest) -> CreateJob:
    """Returns the command of a request.

    Raises:
        InvalidArgument: LIMIT_INVALID, LIMIT_DUPLICATE or POLICY_INVALID.
    """
    job = request.job
    with under("job"):
        targets, policy = targets_from_proto(job.targets), policy_from_proto(job.policy)
    return CreateJob(
        job=JobRequest(
            project=names.project_of(request.parent),
            architecture=names.in_project(job.architecture, "architectures"),
            dataset=names.dataset_of(job.dataset),
            targets=targets,
            policy=policy,
            recipe=_recipe_from_proto(job.recipe),
            seed=job.seed,
            display_name=job.display_name,
            labels=dict(job.labels),
            scheduling=_scheduling_from_proto(job),
        ),
        request_id=request.request_id,
        validate_only=request.validate_only,
    )


def job_to_proto(job: JobRecord, *, brief: bool = False, place: QueuePlace | None = None) -> job_service_pb2.Job:
    """Returns the message of a job; the name of one that was not created is empty. Plans are as `brief` as asked for."""
    spec = job.spec
    return job_service_pb2.Job(
        name=names.job(job.project, job.id) if job.id else "",
        display_name=job.display_name,
        labels=job.labels,
        architecture=names.architecture(job.project, spec.architecture),
        dataset=names.dataset(DatasetName.of(spec, job.project)),
        targets=[target_to_proto(target) for target in spec.targets],
        policy=policy_to_proto(spec.policy),
        recipe=_recipe_to_proto(spec.recipe),
        seed=spec.seed,
        state=_state_to_proto(job.state),
        stage=_stage_to_proto(job.stage),
        attempt=job.attempt,
        progress=_progress_to_proto(job.progress),
        results=[_result_to_proto(job.project, outcome, brief=brief) for outcome in job.outcomes],
        error=_error_to_proto(job),
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time),
        end_time=timestamp(job.end_time),
        etag=job.etag,
        last_sequence=job.last_sequence,
        priority=word_to_proto(job_service_pb2.JobPriority, job.priority, _PRIORITY),
        max_pending_time=_duration(job.max_pending_seconds),
        max_run_time=_duration(job.max_run_seconds),
        queue=place.need.value if place else "",
        queue_position=place.position if place else 0,
        estimated_start_time=timestamp(place.start_time if place else None),
        delete_time=timestamp(job.deletion.delete_time) if job.deletion else None,
        purge_time=timestamp(job.deletion.purge_time) if job.deletion else None,
    )


def wait_from_proto(request: job_service_pb2.WaitJobRequest, time_remaining: float | None) -> float:
    """Returns for how many seconds to wait for a job.

    Args:
        request: The request.
        time_remaining: Seconds to the deadline of the call; None if it has none.
    """
    asked = request.timeout.seconds + request.timeout.nanos / 1e9 if request.HasField("timeout") else MAX_WAIT_SECONDS
    left = MAX_WAIT_SECONDS if time_remaining is None else time_remaining - _ANSWER_SECONDS
    return max(0.0, min(asked, left))


def page_to_proto(page: Page[JobRecord]) -> job_service_pb2.ListJobsResponse:
    """Returns one page of jobs."""
    return job_service_pb2.ListJobsResponse(
        jobs=[job_to_proto(job, brief=True) for job in page.items], next_page_token=page.next_page_token
    )


def candidates_to_proto(page: Page[SearchCandidate]) -> job_service_pb2.ListSearchCandidatesResponse:
    """Returns one page of what a search looked at."""
    return job_service_pb2.ListSearchCandidatesResponse(
        candidates=[_candidate_to_proto(candidate) for candidate in page.items], next_page_token=page.next_page_token
    )


def _candidate_to_proto(candidate: SearchCandidate) -> job_service_pb2.SearchCandidate:
    return job_service_pb2.SearchCandidate(
        origin=candidate.origin,
        plan=candidate.plan,
        parameters=candidate.parameters,
        macs=candidate.macs,
        missed_limits=[resource_to_proto(resource) for resource in candidate.missed],
        scores=candidate.scores,
        rank=candidate.rank,
        measured_fits=candidate.measured_fits,
        validation_accuracy=candidate.validation_accuracy,
        chosen=candidate.chosen,
    )


@lru_cache(maxsize=_EVENTS_KEPT)
def event_to_proto(event: EventRecord) -> job_service_pb2.WatchJobResponse:
    """Returns one message of a watch stream; all watchers of an event get the same one."""
    return job_service_pb2.WatchJobResponse(
        event=job_service_pb2.JobEvent(
            sequence=event.sequence,
            time=timestamp(event.time),
            state=_state_to_proto(event.state),
            stage=_stage_to_proto(event.stage),
            attempt=event.attempt,
            message=event.message,
            progress=_progress_to_proto(event.progress),
        )
    )


def _scheduling_from_proto(job: job_service_pb2.Job) -> Scheduling:
    return Scheduling(
        word_from_proto(job_service_pb2.JobPriority, job.priority, _PRIORITY, JobPriority.NORMAL),
        max_pending_seconds=_seconds(job.max_pending_time) if job.HasField("max_pending_time") else None,
        max_run_seconds=_seconds(job.max_run_time) if job.HasField("max_run_time") else None,
    )


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.ToTimedelta().total_seconds()


def _duration(seconds: float | None) -> duration_pb2.Duration | None:
    if seconds is None:
        return None
    duration = duration_pb2.Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def _recipe_from_proto(message: job_service_pb2.Recipe) -> RecipeChoice:
    # A recipe has the same fields in the API and in the domain; `ListFields` leaves out those that are not set.
    overrides = {field.name: value for field, value in message.ListFields() if field.name not in ("name", "augmentation")}
    for name, (enum, prefix, words) in _WORDS.items():
        if name in overrides:
            overrides[name] = words[enum.Name(overrides[name]).removeprefix(prefix)]
    augmentation = {field.name: value for field, value in message.augmentation.ListFields()}
    return RecipeChoice(message.name, overrides, augmentation)


@lru_cache(maxsize=_RECIPES_KEPT)
def _recipe_to_proto(recipe: Recipe) -> job_service_pb2.Recipe:
    words = {name: word_to_proto(enum, getattr(recipe, name), prefix) for name, (enum, prefix, _) in _WORDS.items()}
    return job_service_pb2.Recipe(**{**to_data(recipe), **words})


def _state_to_proto(state: JobState) -> job_service_pb2.JobState.ValueType:
    return word_to_proto(job_service_pb2.JobState, state, "JOB_STATE_")


def _stage_to_proto(stage: JobStage | None) -> job_service_pb2.JobStage.ValueType:
    return word_to_proto(job_service_pb2.JobStage, stage, "JOB_STAGE_")


def _progress_to_proto(progress: Progress | None) -> job_service_pb2.JobProgress | None:
    if progress is None:
        return None
    return job_service_pb2.JobProgress(
        target_index=progress.target_index,
        epoch=progress.epoch,
        epochs=progress.epochs,
        loss=progress.loss,
        accuracy=progress.accuracy,
        eta=_duration(progress.eta_seconds),
        step=progress.step,
        steps=progress.steps,
        images_per_second=progress.images_per_second,
        validation_loss=progress.validation_loss,
        learning_rate=progress.learning_rate,
    )


def _result_to_proto(project: str, outcome: TargetOutcome, *, brief: bool) -> job_service_pb2.TargetResult:
    report = outcome.report
    return job_service_pb2.TargetResult(
        target_index=report.target_index,
        model=names.model(project, outcome.model_id) if outcome.model_id else "",
        compliance=compliance_to_proto(report.compliance),
        plan=plan_to_proto(report.plan, brief=brief),
        met=report.met,
        message=report.message,
        plans_tried=report.plans_tried,
        attempts=[_attempt_to_proto(attempt) for attempt in report.attempts],
    )


def _attempt_to_proto(attempt: Attempt) -> job_service_pb2.Attempt:
    return job_service_pb2.Attempt(
        plan=attempt.plan,
        trained=attempt.trained,
        compliance=compliance_to_proto(attempt.compliance),
        tightened=[
            job_service_pb2.Tightening(resource=resource_to_proto(each.resource), limit=each.limit)
            for each in attempt.tightened
        ],
    )


def _error_to_proto(job: JobRecord) -> job_service_pb2.JobError | None:
    if not job.error_reason:
        return None
    return job_service_pb2.JobError(reason=job.error_reason, message=job.error_message)
