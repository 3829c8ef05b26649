"""Protobuf messages of jobs to values. Nothing here raises on what a newer service may send."""

from __future__ import annotations

from typing import Any, Final

from secateur.client import jobs as v
from secateur.client._mapping import (
    augmentation,
    compliance,
    criterion,
    limit,
    name_of,
    order,
    plan,
    plan_mode,
    residual,
    resource,
    time_of,
    word_of,
)
from secateur.client.recipes import Recipe
from secateur.client.values import HybridPolicy, SearchPolicy
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import plan_service_pb2 as plans_pb

_RECIPE_WORDS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("optimizer", jobs_pb.Optimizer, "OPTIMIZER_"),
    ("schedule", jobs_pb.Schedule, "SCHEDULE_"),
    ("scratch", jobs_pb.ScratchBudget, "SCRATCH_BUDGET_"),
)
"""Fields of a recipe that are words, their enums, and what the names of these start with."""


def progress(message: jobs_pb.JobProgress) -> v.JobProgress:
    """Maps how far a job is."""
    return v.JobProgress(
        target_index=message.target_index,
        epoch=message.epoch,
        epochs=message.epochs,
        loss=message.loss,
        accuracy=message.accuracy,
        eta=message.eta.ToTimedelta() if message.HasField("eta") else None,
        step=message.step,
        steps=message.steps,
        images_per_second=message.images_per_second,
        validation_loss=message.validation_loss,
        learning_rate=message.learning_rate,
    )


def job_event(message: jobs_pb.JobEvent) -> v.JobEvent:
    """Maps one event of a job."""
    return v.JobEvent(
        sequence=message.sequence,
        time=time_of(message.time),
        state=name_of(jobs_pb.JobState, message.state, "JOB_STATE_"),
        stage=name_of(jobs_pb.JobStage, message.stage, "JOB_STAGE_"),
        attempt=message.attempt,
        message=message.message,
        progress=progress(message.progress) if message.HasField("progress") else None,
    )


def _target_result(message: jobs_pb.TargetResult) -> v.TargetResult:
    return v.TargetResult(
        target_index=message.target_index,
        model=message.model,
        compliance=tuple(map(compliance, message.compliance)),
        plan=plan(message.plan) if message.HasField("plan") else None,
        met=message.met,
        message=message.message,
        plans_tried=message.plans_tried,
        attempts=tuple(map(_attempt, message.attempts)),
    )


def _attempt(message: jobs_pb.Attempt) -> v.Attempt:
    return v.Attempt(
        plan=message.plan,
        trained=message.trained,
        compliance=tuple(map(compliance, message.compliance)),
        tightened=tuple(v.Tightening(resource(each.resource), each.limit) for each in message.tightened),
    )


def _recipe(message: jobs_pb.Recipe) -> Recipe:
    given = {field.name: value for field, value in message.ListFields()}  # those that are set
    for name, enum, prefix in _RECIPE_WORDS:
        if name in given:
            given[name] = word_of(enum, given[name], prefix)
    if "augmentation" in given:
        given["augmentation"] = augmentation(message.augmentation)
    return Recipe(**given)


def _hybrid(message: plans_pb.HybridPolicy) -> HybridPolicy:
    return HybridPolicy(
        criterion=criterion(message.criterion),
        order=order(message.order),
        alpha=message.alpha if message.HasField("alpha") else None,
        rounds=message.rounds,
    )


def search_candidate(message: jobs_pb.SearchCandidate) -> v.SearchCandidate:
    """Maps a plan that a search looked at."""
    return v.SearchCandidate(
        origin=message.origin,
        plan=message.plan,
        parameters=message.parameters,
        macs=message.macs,
        missed_limits=tuple(map(resource, message.missed_limits)),
        scores=dict(message.scores),
        rank=message.rank if message.HasField("rank") else None,
        measured_fits=message.measured_fits if message.HasField("measured_fits") else None,
        validation_accuracy=message.validation_accuracy if message.HasField("validation_accuracy") else None,
        chosen=message.chosen,
    )


def job(message: jobs_pb.Job) -> v.JobSnapshot:
    """Maps a job."""
    policy = message.policy
    return v.JobSnapshot(
        name=message.name,
        display_name=message.display_name,
        labels=dict(message.labels),
        architecture=message.architecture,
        dataset=message.dataset,
        targets=tuple(
            v.TargetSummary(target.device_profile, tuple(map(limit, target.budget.limits))) for target in message.targets
        ),
        mode=plan_mode(policy.mode),
        round_to=policy.round_to,
        step=policy.step,
        min_width=policy.min_width,
        residual=residual(policy.residual),
        temperature=policy.temperature,
        hybrid=_hybrid(policy.hybrid) if policy.HasField("hybrid") else None,
        search=SearchPolicy(policy.search.candidates, policy.search.finalists, policy.search.brief_epochs)
        if policy.HasField("search")
        else None,
        recipe=_recipe(message.recipe),
        seed=message.seed,
        state=name_of(jobs_pb.JobState, message.state, "JOB_STATE_"),
        stage=name_of(jobs_pb.JobStage, message.stage, "JOB_STAGE_"),
        attempt=message.attempt,
        progress=progress(message.progress) if message.HasField("progress") else None,
        results=tuple(map(_target_result, message.results)),
        error=v.JobFailure(message.error.reason, message.error.message) if message.HasField("error") else None,
        create_time=time_of(message.create_time),
        start_time=time_of(message.start_time),
        end_time=time_of(message.end_time),
        etag=message.etag,
        last_sequence=message.last_sequence,
        priority=name_of(jobs_pb.JobPriority, message.priority, "JOB_PRIORITY_"),
        max_pending=message.max_pending_time.ToTimedelta() if message.HasField("max_pending_time") else None,
        max_run=message.max_run_time.ToTimedelta() if message.HasField("max_run_time") else None,
        queue_position=message.queue_position,
        estimated_start_time=time_of(message.estimated_start_time),
        queue=message.queue,
        delete_time=time_of(message.delete_time),
        purge_time=time_of(message.purge_time),
    )
