"""Whose turn it is, how many run at once, and where a job stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from secateur.core import recipes
from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobPriority, JobState, Scheduling
from secateur.core.routing import Need
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.ledger import JOB_UNREADABLE, JobLedger
from secateur.store.records import Claim, JobRecord
from secateur.store.tables import JobRow
from tests.support.store import PROJECT, Clock, a_spec, create, owed, read
from tests.unit.store.test_races import at_once

A, B = "aaa", "bbb"


@pytest.fixture(autouse=True)
def projects(store: Store, graph: LayerGraph) -> None:
    with store.unit_of_work() as work:
        for project in (A, B):
            work.architectures.put(project, graph, cost_of(graph))
        work.commit()


def scheduled(store: Store, graph: LayerGraph, seed: int, project: str = PROJECT, **chosen: Any) -> JobRecord:
    spec = a_spec(graph, seed=seed)
    with store.unit_of_work() as work:
        job = work.jobs.create(NewJob(project, spec, work_key=spec.work_key("t"), scheduling=Scheduling(**chosen)))
        work.commit()
    return job


def take(store: Store, **limits: Any) -> Claim | None:
    return JobLedger(store, **limits).claim_next(worker="w", lease_seconds=30)


def taken(store: Store, count: int) -> list[str]:
    return [held.job_id for _ in range(count) if (held := take(store))]


def waiting(store: Store) -> dict[Need, int]:
    with store.snapshot() as work:
        return work.jobs.waiting()


def test_the_higher_priority_goes_first_and_the_older_among_equals(store: Store, graph: LayerGraph, clock: Clock) -> None:
    jobs = []
    for seed, priority in enumerate((JobPriority.LOW, JobPriority.NORMAL, JobPriority.HIGH, JobPriority.NORMAL)):
        jobs.append(scheduled(store, graph, seed, priority=priority).id)
        clock.advance(-1)  # the order of their times, not that in which they were written
    assert taken(store, 5) == [jobs[2], jobs[3], jobs[1], jobs[0]]


def test_projects_take_turns_however_many_jobs_one_has(store: Store, graph: LayerGraph, clock: Clock) -> None:
    many = [scheduled(store, graph, seed, A) for seed in range(4)]
    few = [scheduled(store, graph, seed, B) for seed in range(2)]
    order = []
    for _ in range(6):  # one worker: nothing else runs when it looks for the next
        clock.advance(1)
        held = take(store)
        assert held is not None
        JobLedger(store).finish(held, JobState.SUCCEEDED)
        order.append(held.job_id)
    owners = ["A" if job_id in {job.id for job in many} else "B" for job_id in order]
    assert sorted(owners[:4]) == ["A", "A", "B", "B"]
    assert owners[4:] == ["A", "A"]
    assert set(order) == {job.id for job in many + few}


def test_the_project_with_fewer_running_jobs_goes_first_though_it_had_the_last_turn(
    store: Store, graph: LayerGraph, clock: Clock
) -> None:
    for seed in range(3):
        scheduled(store, graph, seed, A)
    assert len(taken(store, 1)) == 1
    for seed in range(2):
        clock.advance(1)
        later = scheduled(store, graph, seed, B)
        held = take(store)
        assert held is not None
        assert held.job_id == later.id
        JobLedger(store).finish(held, JobState.SUCCEEDED)


def test_a_job_that_an_older_release_has_announced_is_for_every_worker(
    store: Store, ledger: JobLedger, graph: LayerGraph
) -> None:
    job = create(store, graph)
    with store.unit_of_work() as work:
        work.session.get_one(JobRow, job.id).need = None
        work.commit()
    assert (owed(store), waiting(store)) == ([job.id], {Need.CPU: 1})
    held = ledger.claim_next(worker="w", lease_seconds=9, needs=[Need.GPU])
    assert held is not None
    assert held.job_id == job.id


def test_no_more_jobs_of_a_project_run_at_once_than_may(store: Store, graph: LayerGraph) -> None:
    for seed in range(4):
        scheduled(store, graph, seed, A)
    claims = [held for held in at_once(*[lambda: take(store, max_running=2)] * 4) if held is not None]
    assert len(claims) == 2
    assert take(store, max_running=2) is None
    JobLedger(store).finish(claims[0], JobState.SUCCEEDED)
    assert take(store, max_running=2) is not None


def test_each_waiting_job_is_claimed_once(store: Store, graph: LayerGraph) -> None:
    jobs = [create(store, graph, seed=seed).id for seed in range(6)]
    claims = at_once(*[lambda: taken(store, 3)] * 4)
    assert sorted(job_id for claimed in claims for job_id in claimed) == sorted(jobs)


def test_a_worker_takes_what_it_is_for(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    small = create(store, graph, seed=0)
    large = create(store, graph, seed=1, recipe=recipes.resolve(epochs=2_000))
    assert waiting(store) == {Need.CPU: 1, Need.GPU: 1}
    held = ledger.claim_next(worker="w", lease_seconds=9, needs=[Need.GPU])
    assert held is not None
    assert held.job_id == large.id
    assert ledger.claim_next(worker="w", lease_seconds=9, needs=[Need.GPU]) is None
    assert taken(store, 2) == [small.id]


def test_a_job_that_cannot_be_read_fails_and_holds_nobody_up(store: Store, graph: LayerGraph) -> None:
    broken, sound = create(store, graph, seed=0), create(store, graph, seed=1)
    spec = read(store, broken).spec
    with store.unit_of_work() as work:
        row = work.session.get_one(JobRow, broken.id)
        row.spec = {"from": "a release to come"}
        row.priority = JobPriority.HIGH
        work.commit()
    assert taken(store, 2) == [sound.id]
    with store.unit_of_work() as work:
        row = work.session.get_one(JobRow, broken.id)
        assert (row.state, row.error_reason, spec.seed) == (JobState.FAILED, JOB_UNREADABLE, 0)


def test_what_failed_for_a_reason_that_may_pass_is_tried_again_later(
    store: Store, ledger: JobLedger, graph: LayerGraph, clock: Clock
) -> None:
    job = create(store, graph)
    for pause in (10, 20):
        held = take(store)
        assert held is not None
        ledger.release(held, "The blob store is away", reason="RESOURCES_MISSING")
        assert take(store) is None
        assert owed(store) == []
        clock.advance(pause)
        with store.unit_of_work() as work:
            assert work.jobs.reap(clock.now).resent == (job.id,)
            work.commit()
    held = take(store)
    assert held is not None
    assert ledger.release(held, "The blob store is away", reason="RESOURCES_MISSING") is JobState.FAILED
    failed = read(store, job)
    assert failed.error_reason == "RESOURCES_MISSING"
    assert "The blob store is away" in failed.error_message


def test_an_attempt_that_is_given_back_in_order_does_not_count(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    for _ in range(5):
        held = take(store)
        assert held is not None
        ledger.release(held, "The worker is shutting down", reason="")
    assert (read(store, job).state, read(store, job).attempt) == (JobState.QUEUED, 5)


def test_a_job_that_waits_or_runs_for_too_long_expires(store: Store, graph: LayerGraph, clock: Clock) -> None:
    waiting = scheduled(store, graph, 0, max_pending_seconds=60.0)
    running = scheduled(store, graph, 1, priority=JobPriority.HIGH, max_run_seconds=100.0)
    held = take(store, max_run_seconds=500.0)
    assert held is not None
    assert (held.job_id, held.run_seconds) == (running.id, 100.0)

    def expired(seconds: float) -> tuple[str, ...]:
        with store.unit_of_work() as work:
            reaped = work.jobs.reap(clock.advance(seconds), give_up=False)
            work.commit()
        return reaped.expired

    assert expired(60) == ()
    assert expired(1) == (waiting.id,)
    assert expired(69) == ()  # the worker has some time to say so itself
    assert expired(1) == (running.id,)
    assert [read(store, job).error_reason for job in (waiting, running)] == ["PENDING_TIME_EXCEEDED", "RUN_TIME_EXCEEDED"]


def test_an_attempt_has_its_own_time_to_run_and_to_wait_for(store: Store, graph: LayerGraph, clock: Clock) -> None:
    def expired(seconds: float) -> tuple[str, ...]:
        with store.unit_of_work() as work:
            reaped = work.jobs.reap(clock.advance(seconds), give_up=False)
            work.commit()
        return reaped.expired

    job = scheduled(store, graph, 0, max_pending_seconds=60.0)
    clock.advance(50)
    for limits in ({"max_run_seconds": 100.0}, {}):
        held = take(store, **limits)
        assert held is not None
        assert expired(50) == ()
        JobLedger(store).release(held, "The worker is shutting down", reason="")
        assert expired(50) == ()
    held = take(store)  # without a limit
    assert held is not None
    assert expired(1_000) == ()
    JobLedger(store).release(held, "The worker is shutting down", reason="")
    assert expired(61) == (job.id,)


def test_a_job_that_waits_knows_its_place(store: Store, graph: LayerGraph, clock: Clock) -> None:
    def place(job: JobRecord) -> tuple[int, Any] | None:
        with store.snapshot() as work:
            found = work.jobs.place(job.id)
        return None if found is None else (found.position, found.start_time)

    first = scheduled(store, graph, 9, A)
    held = take(store)
    assert held is not None
    clock.advance(40)
    JobLedger(store).finish(held, JobState.SUCCEEDED)
    jobs = []
    for seed in range(3):
        jobs.append(scheduled(store, graph, seed, A))
        clock.advance(1)
    other = scheduled(store, graph, 0, B)
    high = scheduled(store, graph, 1, B, priority=JobPriority.HIGH)
    assert place(first) is None
    assert [(place(job) or (0,))[0] for job in (high, other, *jobs)] == [1, 2, 3, 4, 5]
    assert place(other) == (2, clock.now + timedelta(seconds=2 * 40))


def test_when_a_job_starts_is_guessed_from_the_latest_runs_and_from_how_many_run_at_once(
    store: Store, graph: LayerGraph, clock: Clock
) -> None:
    for seed, seconds in enumerate([1_000] + [40] * 20):
        scheduled(store, graph, seed)
        held = take(store)
        assert held is not None
        clock.advance(seconds)
        JobLedger(store).finish(held, JobState.SUCCEEDED)
    never_ran, *_ = [scheduled(store, graph, seed) for seed in range(30, 33)]
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, never_ran.id)
        work.commit()
    assert len(taken(store, 3)) == 2
    waiting = []
    for seed in range(40, 43):
        clock.advance(1)
        waiting.append(scheduled(store, graph, seed).id)
    with store.snapshot() as work:
        starts = [place.start_time for job_id in waiting if (place := work.jobs.place(job_id))]
    assert starts == [clock.now + timedelta(seconds=seconds) for seconds in (40, 40, 80)]
