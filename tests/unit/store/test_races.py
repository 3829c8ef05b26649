"""Two or more at once: exactly one wins, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import TypeVar

import pytest
from sqlalchemy import select

from secateur.core import devices
from secateur.core.cost import cost_of
from secateur.core.devices import DeviceProfile
from secateur.core.errors import AlreadyExists, Conflict, QuotaExceeded
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.profiles import MAX_PROFILES_PER_PROJECT
from secateur.core.routing import Need
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.database import Timeouts
from secateur.store.ledger import JobLedger
from tests.support.store import PROJECT, Clock, a_graph, a_spec, claim, create, events, owed, read

T = TypeVar("T")


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Runs all calls in threads that start together; returns their results in order."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_one_of_many_workers_gets_the_job(store: Store, graph: LayerGraph) -> None:
    for seed in range(5):
        job = create(store, graph, seed=seed)
        claims = at_once(*[lambda job=job: JobLedger(store).claim(job.id, worker="w", lease_seconds=9)] * 4)
        assert [held.attempt for held in claims if held is not None] == [1]
        assert len(events(store, job)) == 2


def test_two_workers_share_a_queue_and_claim_each_job_once(database_url: str, store: Store, graph: LayerGraph) -> None:
    jobs = [create(store, graph, seed=seed) for seed in range(12)]

    def work(name: str) -> list[str]:
        own = Store(database_url)  # a process of its own has connections of its own
        ledger = JobLedger(own)
        claims = [ledger.claim(job.id, worker=name, lease_seconds=30) for job in jobs]
        own.close()
        return [held.job_id for held in claims if held is not None]

    claimed = at_once(partial(work, "one"), partial(work, "two"))
    assert sorted(claimed[0] + claimed[1]) == sorted(job.id for job in jobs)
    assert [len(events(store, job)) for job in jobs] == [2] * len(jobs)


def test_equal_work_created_at_once_is_one_job(store: Store, graph: LayerGraph) -> None:
    jobs = at_once(*[lambda: create(store, graph)] * 4)
    assert len({job.id for job in jobs}) == 1
    assert owed(store) == [jobs[0].id]


def test_one_request_sent_twice_at_once_is_one_job(store: Store, graph: LayerGraph) -> None:
    def send(seed: int) -> str:
        spec = a_spec(graph, seed=seed)
        with store.unit_of_work() as work:
            job = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("t"), request_id="key", fingerprint="same"))
            work.commit()
        return job.id

    # Other work keys: only the request id tells that the requests are one.
    first, second = at_once(lambda: send(1), lambda: send(2))
    assert first == second
    assert owed(store) == [first]


def test_one_graph_put_at_once_is_one_architecture(store: Store) -> None:
    graph = a_graph(classes=3)

    def put(name: str) -> str:
        with store.unit_of_work() as work:
            kept = work.architectures.put(PROJECT, graph, cost_of(graph), display_name=name)
            work.commit()
        return kept.display_name

    names = at_once(lambda: put("a"), lambda: put("b"), lambda: put("c"))
    assert len(set(names)) == 1


def test_sequences_have_no_gap_while_many_write(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    held = claim(store, job)
    ledger = JobLedger(store)

    def report() -> None:
        for _ in range(10):
            ledger.report(held, message="at work")

    def cancel() -> None:
        with store.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job.id)
            work.commit()

    at_once(report, report, report, cancel)
    assert [event.sequence for event in events(store, job)] == list(range(1, 34))
    assert read(store, job).last_sequence == 33


def test_a_late_worker_and_the_reaper_cannot_both_win(store: Store, graph: LayerGraph, clock: Clock) -> None:
    for seed in range(5):
        job = create(store, graph, seed=seed)
        held = claim(store, job)
        late = clock.advance(31)

        def finish(held=held) -> bool:  # type: ignore[no-untyped-def]
            try:
                JobLedger(store).finish(held, JobState.SUCCEEDED)
            except Conflict:
                return False
            return True

        def reap(late=late) -> bool:  # type: ignore[no-untyped-def]
            with store.unit_of_work() as work:
                ended = work.jobs.reap(late).ended
                work.commit()
            return bool(ended)

        finished, reaped = at_once(finish, reap)
        assert finished != reaped
        assert read(store, job).state is (JobState.SUCCEEDED if finished else JobState.QUEUED)


def test_marking_messages_and_removing_them_in_another_order_never_block_each_other(store: Store, graph: LayerGraph) -> None:
    first, second = create(store, graph), create(store, graph, seed=1)
    with store.snapshot() as work:
        messages = work.outbox.unsent(Need.CPU, 2)
    assert [message.job_id for message in messages] == [first.id, second.id]

    def mark() -> None:
        with store.unit_of_work() as work:
            work.outbox.mark_sent([message.id for message in messages], work.journal.now())
            work.commit()

    with ThreadPoolExecutor(1) as pool:
        with store.unit_of_work() as work:
            work.jobs.cancel(PROJECT, second.id)
            marking = pool.submit(mark)
            wait([marking], timeout=0.5)
            work.jobs.cancel(PROJECT, first.id)
            work.commit()
        marking.result()
    assert owed(store) == []


def test_one_id_added_twice_at_once_is_one_profile(store: Store) -> None:
    def add(ram_bytes: int) -> int | str:
        profile = replace(devices.get("stm32f746"), id="mine", project=PROJECT, ram_bytes=ram_bytes)
        with store.unit_of_work() as work:
            try:
                work.device_profiles.create(profile)
            except AlreadyExists as error:
                return error.reason
            work.commit()
        return ram_bytes

    outcomes = at_once(*(partial(add, ram_bytes) for ram_bytes in (2**18, 2**19, 2**20)))

    with store.snapshot() as work:
        (kept,) = work.device_profiles.list(PROJECT)
    assert sorted(map(str, outcomes)) == sorted([str(kept.ram_bytes), "DEVICE_PROFILE_EXISTS", "DEVICE_PROFILE_EXISTS"])


def test_profiles_created_at_once_stay_within_the_quota(store: Store) -> None:
    def a_profile(number: int) -> DeviceProfile:
        return replace(devices.get("stm32f746"), id=f"p{number}", project=PROJECT)

    def add_one_too_many() -> None:
        with store.unit_of_work() as work:
            work.device_profiles.create(a_profile(MAX_PROFILES_PER_PROJECT))
            work.commit()

    with store.unit_of_work() as work:
        for number in range(MAX_PROFILES_PER_PROJECT - 1):
            work.device_profiles.create(a_profile(number))
        work.commit()
    with ThreadPoolExecutor(1) as pool, store.unit_of_work() as work:
        work.device_profiles.create(a_profile(MAX_PROFILES_PER_PROJECT - 1))
        other = pool.submit(add_one_too_many)
        wait([other], timeout=0.5)  # as long as this one is not committed, the other must neither count nor create
        assert not other.done()
        work.commit()
    with pytest.raises(QuotaExceeded):
        other.result()


def test_whoever_writes_does_not_wait_for_the_time_of_those_who_wait_for_it(database_url: str) -> None:
    store = Store(database_url, timeouts=Timeouts(lock_seconds=40))  # on the database's own clock

    def read_the_time() -> None:
        with store.unit_of_work() as work:  # on SQLite this waits for the other to commit
            work.journal.now()

    with ThreadPoolExecutor(1) as pool:
        with store.unit_of_work() as work:
            work.session.execute(select(1))
            other = pool.submit(read_the_time)
            wait([other], timeout=0.3)
            started = time.monotonic()
            work.journal.now()
            assert time.monotonic() - started < 20
            work.commit()
        other.result()
    store.close()
