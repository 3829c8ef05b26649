"""The reaper and the outbox: nothing stays lost."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from secateur.core import recipes
from secateur.core.graph import LayerGraph
from secateur.core.jobs import MAX_ATTEMPTS, JobState
from secateur.core.routing import Need
from secateur.server.reaper import Reaper
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.ledger import JobLedger
from secateur.store.records import Reaped
from secateur.store.tables import OutboxRow
from tests.support.stack import until
from tests.support.store import LEASE_S, PROJECT, Clock, a_spec, claim, create, events, owed, read


def reap(store: Store, clock: Clock, after: float) -> Reaped:
    """Lets time pass and reaps."""
    with store.unit_of_work() as work:
        reaped = work.jobs.reap(clock.advance(after), resend_after=timedelta(seconds=60))
        work.commit()
    return reaped


def send(store: Store, clock: Clock) -> list[str]:
    """Relays every message, to nobody; returns the jobs."""
    with store.unit_of_work() as work:
        messages = [message for need in Need for message in work.outbox.unsent(need, 1000)]
        work.outbox.mark_sent([message.id for message in messages], clock.now)
        work.commit()
    return [message.job_id for message in messages]


def test_a_silent_worker_loses_its_job(store: Store, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    claim(store, job, worker="host-7")
    assert reap(store, clock, LEASE_S).ended == {}  # not one second too early
    assert reap(store, clock, 1).ended == {job.id: JobState.QUEUED}
    assert "host-7" in events(store, job)[-1].message
    assert owed(store) == [job.id]
    assert claim(store, job).attempt == 2


def test_a_job_that_lost_its_last_worker_fails(store: Store, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    for _ in range(MAX_ATTEMPTS):
        claim(store, job)
        reaped = reap(store, clock, LEASE_S + 1)
    assert reaped.ended == {job.id: JobState.FAILED}
    assert read(store, job).error_reason == "WORKER_LOST"
    assert owed(store) == []


def test_a_cancelled_job_that_lost_its_worker_is_cancelled(store: Store, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    claim(store, job)
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, job.id)
        work.commit()
    assert reap(store, clock, LEASE_S + 1).ended == {job.id: JobState.CANCELLED}


def test_a_message_that_the_queue_lost_is_owed_again(store: Store, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    assert reap(store, clock, 1000).resent == ()  # it was not sent yet: the relay will
    assert send(store, clock) == [job.id]
    assert reap(store, clock, 59).resent == ()
    assert reap(store, clock, 2).resent == (job.id,)
    assert reap(store, clock, 0).resent == ()
    assert send(store, clock) == [job.id]
    assert [event.sequence for event in events(store, job)] == [1]  # for the job nothing has happened


def test_no_more_messages_are_owed_than_wake_every_worker_of_a_need(store: Store, graph: LayerGraph, clock: Clock) -> None:
    specs = [a_spec(graph, seed=seed) for seed in range(120)]
    with store.unit_of_work() as work:
        work.jobs.create_all([NewJob(PROJECT, spec, work_key=spec.work_key("test")) for spec in specs])
        work.commit()
    large = create(store, graph, recipe=recipes.resolve(epochs=2_000))
    assert len(send(store, clock)) == 121
    clock.advance(61)
    on_its_way = create(store, graph, seed=-1)
    resent = reap(store, clock, 0).resent
    assert large.id in resent
    assert on_its_way.id not in resent
    assert len(resent) == 99 + 1
    assert reap(store, clock, 0).resent == ()


def test_however_often_a_job_is_announced_the_outbox_has_one_message_for_it(
    store: Store, graph: LayerGraph, clock: Clock
) -> None:
    jobs = [create(store, graph, seed=seed).id for seed in range(2)]
    for _ in range(3):
        assert send(store, clock) == jobs
        assert reap(store, clock, 61).resent == tuple(jobs)
    with store.unit_of_work() as work:
        assert sorted(work.session.scalars(select(OutboxRow.job_id))) == sorted(jobs)


def test_a_claimed_job_is_not_announced_again(store: Store, ledger: JobLedger, graph: LayerGraph, clock: Clock) -> None:
    job = create(store, graph)
    send(store, clock)
    held = claim(store, job)
    for _ in range(5):
        ledger.heartbeat(held, 100)
        assert reap(store, clock, 61) == Reaped({}, ())


def test_messages_are_sent_once_and_in_order(store: Store, graph: LayerGraph, clock: Clock) -> None:
    jobs = [create(store, graph, seed=seed).id for seed in range(3)]
    with store.snapshot() as work:
        assert [message.job_id for message in work.outbox.unsent(Need.CPU, 2)] == jobs[:2]
    assert send(store, clock) == jobs
    assert send(store, clock) == []


def test_marking_a_message_late_does_not_hit_a_newer_one(store: Store, graph: LayerGraph, clock: Clock) -> None:
    old = create(store, graph)
    with store.snapshot() as work:
        (message,) = work.outbox.unsent(Need.CPU, 1)
    claim(store, old)  # the message is gone
    new = create(store, graph, seed=1)
    with store.unit_of_work() as work:
        work.outbox.mark_sent([message.id], clock.now)
        work.commit()
    assert owed(store) == [new.id]


@pytest.mark.parametrize(("lease_seconds", "reap_seconds"), [(0.5, 0.05), (0.4, 0.5)])
def test_lost_workers_are_found_however_far_apart_the_rounds_are(
    database_url: str, graph: LayerGraph, tmp_path: Path, lease_seconds: float, reap_seconds: float
) -> None:
    with closing(Store(database_url)) as store:  # on the database's own clock
        job = create(store, graph)
        JobLedger(store).claim(job.id, worker="w", lease_seconds=-1)
        reaper = Reaper(
            store,
            blob_url=tmp_path.as_uri(),
            lease_seconds=lease_seconds,
            reap_seconds=reap_seconds,
            stopping=threading.Event(),
        )
        reaper.reap()
        assert read(store, job).state is JobState.RUNNING

        def is_found() -> bool:
            time.sleep(reap_seconds)
            reaper.reap()
            return read(store, job).state is not JobState.RUNNING

        until(is_found, "its worker is found to be lost")


@pytest.mark.parametrize("leap", [timedelta(hours=1), timedelta(hours=-1)])
def test_after_a_leap_of_the_database_s_time_no_worker_is_lost_that_renews_its_lease_again(
    database_url: str, graph: LayerGraph, tmp_path: Path, leap: timedelta
) -> None:
    slept = timedelta()
    with closing(Store(database_url, clock=lambda: datetime.now(UTC) + slept)) as store:
        reaper = Reaper(store, blob_url=tmp_path.as_uri(), lease_seconds=1, reap_seconds=1, stopping=threading.Event())
        reaper.reap()
        time.sleep(1)
        ledger, job = JobLedger(store), create(store, graph)
        held = ledger.claim(job.id, worker="w", lease_seconds=30)
        assert held is not None
        reaper.reap()
        slept = leap
        reaper.reap()
        ledger.heartbeat(held, 1)
        slept = timedelta()  # the machine's time is set right again
        reaper.reap()
        ledger.heartbeat(held, 1)

        def is_lost() -> bool:
            time.sleep(0.2)
            reaper.reap()
            return read(store, job).state is JobState.QUEUED

        until(is_lost, "it is lost, as it renews no more")
