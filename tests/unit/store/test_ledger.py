"""The worker's side: claims, fencing, reports, settlements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from secateur.core.datasets import DatasetName
from secateur.core.errors import Conflict, FailedPrecondition
from secateur.core.graph import LayerGraph
from secateur.core.jobs import MAX_ATTEMPTS, JobStage, JobState
from secateur.core.planning import Plan
from secateur.core.profiles import ProfileName
from secateur.core.reports import ARENA_BYTES, Progress, SearchCandidate
from secateur.store import Store
from secateur.store.families import Family
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim
from tests.support.store import PROJECT, Clock, a_report, a_spec, claim, create, events, owed, read

PROGRESS = Progress(target_index=0, epoch=3, epochs=30, loss=0.5, accuracy=0.75, eta_seconds=12.5)


def test_a_claim_carries_the_work_and_takes_the_job_off_the_queue(store: Store, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    clock.advance(5)
    held = claim(store, job)
    assert held == Claim(job.id, 1, a_spec(graph), graph)
    running = read(store, job)
    assert (running.state, running.attempt, running.start_time) == (JobState.RUNNING, 1, clock.now)
    assert running.version > job.version
    assert owed(store) == []


def test_a_duplicated_message_claims_nothing(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    held = claim(store, job)
    assert ledger.claim(job.id, worker="second", lease_seconds=1) is None
    ledger.finish(held, JobState.SUCCEEDED)
    assert ledger.claim(job.id, worker="second", lease_seconds=1) is None
    assert ledger.claim("nobody", worker="second", lease_seconds=1) is None


def test_reports_become_events_without_gap(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    held = claim(store, job)
    ledger.report(held, stage=JobStage.TRAINING, message="Training")
    ledger.report(held, progress=PROGRESS)
    ledger.report(held, stage=JobStage.EXPORTING)
    ledger.finish(held, JobState.SUCCEEDED)

    log = events(store, job)
    assert [event.sequence for event in log] == [1, 2, 3, 4, 5, 6]
    assert [event.stage for event in log] == [
        None,
        JobStage.PLANNING,
        JobStage.TRAINING,
        JobStage.TRAINING,
        JobStage.EXPORTING,
        None,
    ]
    assert [event.progress for event in log] == [None, None, None, PROGRESS, None, None]
    assert [event.attempt for event in log] == [0, 1, 1, 1, 1, 1]
    assert log[-1].state is JobState.SUCCEEDED


def test_what_is_reported_again_is_one_event_and_what_is_only_alike_another(
    store: Store, ledger: JobLedger, graph: LayerGraph
) -> None:
    job = create(store, graph)
    held = claim(store, job)
    for again in (False, True):
        ledger.report(held, stage=JobStage.TRAINING, message="Training", progress=PROGRESS, again=again)
    ledger.report(held, stage=JobStage.TRAINING, message="Training", progress=PROGRESS)
    ledger.report(held, message="Training", again=True)
    ledger.report(held, message="Still training", again=True)
    ledger.report(held, stage=JobStage.EXPORTING, message="Still training", again=True)
    told = [(event.stage, event.message, event.progress) for event in events(store, job)[2:]]
    training = (JobStage.TRAINING, "Training", PROGRESS)
    assert told[:3] == [training, training, (JobStage.TRAINING, "Training", None)]
    assert told[3:] == [(JobStage.TRAINING, "Still training", None), (JobStage.EXPORTING, "Still training", None)]


def test_the_job_shows_its_latest_stage_and_progress(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    held = claim(store, job)
    ledger.report(held, stage=JobStage.TRAINING)
    ledger.report(held, progress=PROGRESS)
    ledger.report(held, message="still there")
    assert (read(store, job).stage, read(store, job).progress) == (JobStage.TRAINING, PROGRESS)
    ledger.finish(held, JobState.SUCCEEDED)
    assert (read(store, job).stage, read(store, job).progress) == (None, None)


def test_a_figure_that_is_not_a_number_is_refused(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    held = claim(store, job)
    with pytest.raises(Exception, match="Out of range float values"):
        ledger.report(held, progress=replace(PROGRESS, loss=float("nan")))
    assert read(store, job).last_sequence == 2


def test_a_heartbeat_renews_the_lease_and_nothing_else(
    store: Store, ledger: JobLedger, graph: LayerGraph, clock: Clock
) -> None:
    job = create(store, graph)
    held = claim(store, job)  # for 30 s
    before = read(store, job)
    clock.advance(25)
    ledger.heartbeat(held, 30)
    with store.unit_of_work() as work:
        assert work.jobs.reap(clock.advance(25)).ended == {}
        assert work.jobs.reap(clock.advance(6)).ended == {job.id: JobState.QUEUED}
    assert read(store, job) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda ledger, held, _: ledger.heartbeat(held, 10),
        lambda ledger, held, _: ledger.report(held, message="late"),
        lambda ledger, held, report: ledger.settle_target(held, report),
        lambda ledger, held, _: ledger.finish(held, JobState.SUCCEEDED),
        lambda ledger, held, _: ledger.release(held, "late"),
    ],
    ids=["heartbeat", "report", "settle_target", "finish", "release"],
)
@pytest.mark.parametrize("since", ["requeued", "claimed by another", "finished"])
def test_a_stale_token_writes_nothing(
    store: Store,
    ledger: JobLedger,
    graph: LayerGraph,
    chosen_plan: Plan,
    clock: Clock,
    write: Callable[..., object],
    since: str,
) -> None:
    job = create(store, graph)
    stale = claim(store, job)
    if since == "finished":
        ledger.finish(stale, JobState.SUCCEEDED)
    else:
        with store.unit_of_work() as work:
            work.jobs.reap(clock.advance(31))
            work.commit()
    if since == "claimed by another":
        assert claim(store, job, "another").attempt == 2
    before = read(store, job)

    with pytest.raises(Conflict) as caught:
        write(ledger, stale, a_report(graph, chosen_plan))
    assert caught.value.reason == "LEASE_LOST"
    assert read(store, job) == before


def test_settling_keeps_the_model_with_all_its_figures(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan, clock: Clock
) -> None:
    job = create(store, graph)
    report = a_report(graph, chosen_plan)
    model_id = ledger.settle_target(claim(store, job), report)
    assert model_id is not None
    with store.snapshot() as work:
        model = work.models.get(PROJECT, model_id)
        family = Family.of(PROJECT, graph.digest, DatasetName("digits"))
        assert [offer.id for offer in work.families.offers(family, ram_measurement=ARENA_BYTES)] == [model_id]
    assert model.report == report
    assert (model.job_id, model.architecture, model.dataset, model.device_profile, model.create_time) == (
        job.id,
        graph.digest,
        DatasetName("digits"),
        ProfileName("stm32f746"),
        clock.now,
    )
    (outcome,) = read(store, job).outcomes
    assert (outcome.report, outcome.model_id) == (report, model_id)


def test_a_target_is_settled_once_whatever_the_attempt(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan
) -> None:
    job = create(store, graph, targets=2)
    first = claim(store, job)
    model_id = ledger.settle_target(first, a_report(graph, chosen_plan))
    ledger.release(first, "child died")
    second = claim(store, job)
    assert [report.target_index for report in second.settled] == [0]
    settled = read(store, job)

    assert ledger.settle_target(second, a_report(graph, chosen_plan, accuracy=0.5)) == model_id
    assert read(store, job) == settled
    other = ledger.settle_target(second, a_report(graph, chosen_plan, target_index=1))
    assert other not in (None, model_id)
    assert [outcome.model_id for outcome in read(store, job).outcomes] == [model_id, other]


def test_a_target_that_was_not_trained_leaves_no_model(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan
) -> None:
    job = create(store, graph)
    held = claim(store, job)
    report = replace(a_report(graph, chosen_plan), artifacts=(), plan=None, message="flash_bytes cannot be met")
    assert ledger.settle_target(held, report) is None
    ledger.finish(held, JobState.INFEASIBLE)
    (outcome,) = read(store, job).outcomes
    assert (outcome.report, outcome.model_id) == (report, None)
    with store.snapshot() as work:
        assert work.models.list(PROJECT).items == ()


def test_a_search_is_kept_beside_the_report(store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan) -> None:
    found = (SearchCandidate("uniform", "a" * 64, 10, 20, scores={"zico": 0.5}, rank=1.0, chosen=True),)
    job = create(store, graph, targets=3)
    attempt = claim(store, job)
    ledger.settle_target(attempt, replace(a_report(graph, chosen_plan), candidates=found))
    ledger.settle_target(attempt, a_report(graph, chosen_plan, target_index=1))

    assert [outcome.report.candidates for outcome in read(store, job).outcomes] == [(), ()]
    with store.snapshot() as work:
        assert [work.jobs.candidates(job.id, index) for index in range(3)] == [found, (), None]


def test_a_failure_keeps_its_reason(store: Store, ledger: JobLedger, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    held = claim(store, job)
    clock.advance(7)
    ledger.finish(held, JobState.FAILED, reason="OUT_OF_MEMORY", message="The child process used too much memory")
    failed = read(store, job)
    assert (failed.state, failed.end_time) == (JobState.FAILED, clock.now)
    assert (failed.error_reason, failed.error_message) == ("OUT_OF_MEMORY", "The child process used too much memory")


def test_finishing_takes_only_moves_of_the_life_cycle(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    held = claim(store, create(store, graph))
    with pytest.raises(FailedPrecondition) as caught:
        ledger.finish(held, JobState.RUNNING)
    assert caught.value.reason == "JOB_STATE"


class TestRelease:
    def test_the_job_waits_for_the_next_attempt(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        job = create(store, graph)
        assert ledger.release(claim(store, job), "child died") is JobState.QUEUED
        waiting = read(store, job)
        assert (waiting.state, waiting.attempt, waiting.stage) == (JobState.QUEUED, 1, None)
        assert events(store, job)[-1].message == "child died"
        assert owed(store) == [job.id]
        assert claim(store, job).attempt == 2

    def test_the_last_attempt_fails_the_job(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        job = create(store, graph)
        ends = [ledger.release(claim(store, job), "child died") for _ in range(MAX_ATTEMPTS)]
        assert ends == [JobState.QUEUED] * (MAX_ATTEMPTS - 1) + [JobState.FAILED]
        failed = read(store, job)
        assert failed.error_reason == "WORKER_LOST"
        assert "child died" in failed.error_message
        assert owed(store) == []

    def test_a_cancelled_job_does_not_come_back(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        job = create(store, graph)
        held = claim(store, job)
        with store.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job.id)
            work.commit()
        assert ledger.release(held, "child died") is JobState.CANCELLED
        assert owed(store) == []
