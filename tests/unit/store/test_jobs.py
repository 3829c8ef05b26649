"""Jobs as the server sees them."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from secateur.core.cost import cost_of
from secateur.core.errors import Conflict, InvalidArgument, NotFound
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.server.forgetting import Forgetter
from secateur.store import Store
from secateur.store.creation import CREATE, NewJob
from secateur.store.ledger import JobLedger
from secateur.store.records import JobRecord
from secateur.store.requests import RequestKey
from tests.support.store import PROJECT, Clock, a_spec, claim, create, events, owed, read


def test_create_writes_job_event_and_message_together(store: Store, graph: LayerGraph, clock: Clock) -> None:
    spec = a_spec(graph, targets=2)
    with store.unit_of_work() as work:
        job = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("t"), display_name="mine", labels={"team": "edge"}))
        work.commit()

    assert read(store, job) == job
    assert (job.spec, job.display_name, job.labels) == (spec, "mine", {"team": "edge"})
    assert (job.state, job.attempt, job.last_sequence, job.create_time) == (JobState.QUEUED, 0, 1, clock.now)
    assert job.create_time.utcoffset() is not None
    (event,) = events(store, job)
    assert (event.sequence, event.state, event.time) == (1, JobState.QUEUED, clock.now)
    assert owed(store) == [job.id]


def test_what_is_not_committed_leaves_nothing_behind(store: Store, graph: LayerGraph) -> None:
    spec = a_spec(graph)
    with store.unit_of_work() as work:
        job = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("t"), request_id="r", fingerprint="f"))

    with pytest.raises(NotFound, match=job.id):
        read(store, job)
    assert events(store, job) == ()
    assert owed(store) == []


def test_equal_work_joins_the_queued_job(store: Store, graph: LayerGraph) -> None:
    first = create(store, graph)
    assert create(store, graph).id == first.id
    assert create(store, graph, seed=1).id != first.id
    assert len(events(store, first)) == 1


@pytest.mark.parametrize(
    ("end", "joined"),
    [(JobState.SUCCEEDED, True), (JobState.FAILED, False), (JobState.INFEASIBLE, False), (JobState.EXPIRED, False)],
)
def test_equal_work_joins_a_finished_job_only_if_it_succeeded(
    store: Store, ledger: JobLedger, graph: LayerGraph, end: JobState, joined: bool
) -> None:
    first = create(store, graph)
    ledger.finish(claim(store, first), end, reason="R" if end is JobState.FAILED else "")
    assert (create(store, graph).id == first.id) is joined


def test_equal_work_does_not_join_a_job_that_is_being_cancelled(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    first = create(store, graph)
    held = claim(store, first)
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, first.id)
        work.commit()

    second = create(store, graph)
    assert second.id != first.id
    ledger.finish(held, JobState.SUCCEEDED)  # the worker was done before it noticed; both results may stand
    assert create(store, graph).id == second.id


def test_work_is_not_shared_between_projects(store: Store, graph: LayerGraph) -> None:
    with store.unit_of_work() as work:
        work.architectures.put("other", graph, cost_of(graph))
        work.commit()
    assert create(store, graph, project="other").id != create(store, graph).id


def test_a_job_needs_a_stored_architecture(store: Store, graph: LayerGraph) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        create(store, graph, project="empty")


class TestRequestId:
    def make(self, store: Store, graph: LayerGraph, *, fingerprint: str, seed: int = 0) -> JobRecord:
        spec = a_spec(graph, seed=seed)
        with store.unit_of_work() as work:
            job = work.jobs.create(
                NewJob(PROJECT, spec, work_key=spec.work_key("t"), request_id="key", fingerprint=fingerprint)
            )
            work.commit()
        return job

    def test_a_repeat_returns_the_first_job_though_it_failed(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        first = self.make(store, graph, fingerprint="f")
        ledger.finish(claim(store, first), JobState.FAILED, reason="R")
        assert self.make(store, graph, fingerprint="f").id == first.id

    def test_another_request_under_the_same_key_is_refused(self, store: Store, graph: LayerGraph) -> None:
        first = self.make(store, graph, fingerprint="f")
        with pytest.raises(InvalidArgument) as caught:
            self.make(store, graph, fingerprint="g", seed=1)
        assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")
        assert owed(store) == [first.id]

    def test_a_request_that_joined_is_remembered_too(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        first = self.make(store, graph, fingerprint="unused")
        spec = a_spec(graph)
        with store.unit_of_work() as work:
            joined = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("t"), request_id="second", fingerprint="f"))
            work.commit()
        ledger.finish(claim(store, first), JobState.FAILED, reason="R")
        with store.unit_of_work() as work:
            again = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("t"), request_id="second", fingerprint="f"))
        assert joined.id == again.id == first.id


@pytest.mark.parametrize("is_running", [False, True])
def test_a_job_is_cancelled_again_with_the_etag_of_before(
    store: Store, ledger: JobLedger, graph: LayerGraph, is_running: bool
) -> None:
    def cancel(etag: str) -> JobRecord:
        with store.unit_of_work() as work:
            cancelled = work.jobs.cancel(PROJECT, job.id, etag=etag)
            work.commit()
        return cancelled

    job = create(store, graph)
    held = claim(store, job) if is_running else None
    current = read(store, job)
    with pytest.raises(Conflict, match="changed"):
        cancel("0")
    first = cancel(current.etag)
    assert first.etag != current.etag
    assert cancel(current.etag) == first
    if held is not None:
        ledger.finish(held, JobState.CANCELLED)
        assert cancel(current.etag).state is JobState.CANCELLED

    done = create(store, graph, seed=1)
    ledger.finish(claim(store, done), JobState.SUCCEEDED)
    job = done
    with pytest.raises(Conflict, match="changed"):
        cancel(done.etag)


def test_a_job_of_another_project_is_not_found(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with store.unit_of_work() as work:
        for call in (work.jobs.get, work.jobs.cancel):
            with pytest.raises(NotFound) as caught:
                call("other", job.id)
            assert caught.value.reason == "JOB_NOT_FOUND"


class TestCancel:
    def cancel(self, store: Store, job: JobRecord) -> JobRecord:
        with store.unit_of_work() as work:
            cancelled = work.jobs.cancel(PROJECT, job.id)
            work.commit()
        assert cancelled == read(store, job)
        return cancelled

    def test_a_queued_job_never_starts(self, store: Store, ledger: JobLedger, graph: LayerGraph, clock: Clock) -> None:
        job = create(store, graph)
        cancelled = self.cancel(store, job)
        assert (cancelled.state, cancelled.end_time, cancelled.last_sequence) == (JobState.CANCELLED, clock.now, 2)
        assert owed(store) == []
        assert ledger.claim(job.id, worker="late", lease_seconds=1) is None

    def test_a_running_job_is_told_once(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        job = create(store, graph)
        held = claim(store, job)
        assert not ledger.heartbeat(held, 10)
        first, second = self.cancel(store, job), self.cancel(store, job)
        assert (first.state, first.cancel_requested, first.last_sequence) == (JobState.RUNNING, True, 3)
        assert second == first
        assert ledger.heartbeat(held, 10)

    def test_a_finished_job_stays_as_it_is(self, store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
        job = create(store, graph)
        ledger.finish(claim(store, job), JobState.SUCCEEDED)
        before = read(store, job)
        assert self.cancel(store, job) == before


def test_events_are_read_from_a_sequence_on(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    held = claim(store, job)
    for number in range(5):
        ledger.report(held, message=f"message {number}")
    with store.snapshot() as work:
        assert [event.sequence for event in work.jobs.events_after(job.id, 3, 2)] == [4, 5]
        assert work.jobs.events_after(job.id, 7, 2) == ()
        assert work.jobs.events_after("nobody", 0, 2) == ()


def test_request_ids_of_any_number_of_projects_are_forgotten_at_their_age(store: Store, clock: Clock) -> None:
    keys = [RequestKey(f"project-{number}", CREATE, "once") for number in range(1_200)]
    with store.unit_of_work() as work:
        for key in keys:
            work.requests.remember(key, "f", "job")
        work.commit()
    clock.advance(1)
    for age, known in ((timedelta(seconds=2), "job"), (timedelta(0), None)):
        Forgetter(store, request_ids=age, audit=None, stopping=threading.Event()).forget()
        with store.snapshot() as work:
            assert {work.requests.answer(key, "f") for key in keys[::100]} == {known}


def test_a_request_id_is_forgotten_when_its_time_is_over(store: Store, graph: LayerGraph, clock: Clock) -> None:
    used: dict[str, str] = {}
    for request_id in ("old", "older than new", "new"):
        with store.unit_of_work() as work:
            spec = a_spec(graph, seed=len(used))
            used[request_id] = work.jobs.create(
                NewJob(PROJECT, spec, work_key=spec.work_key("t"), request_id=request_id, fingerprint="f")
            ).id
            work.commit()
        clock.advance(60)
    with store.unit_of_work() as work:
        assert work.requests.forget(clock.now - timedelta(seconds=60), 1) == 1
        assert work.requests.forget(clock.now - timedelta(seconds=60), 100) == 1
        assert work.requests.forget(clock.now - timedelta(seconds=60), 100) == 0
        work.commit()
    with store.snapshot() as work:
        found = [work.jobs.requested(RequestKey(PROJECT, CREATE, request_id), "f") for request_id in used]
    assert [job and job.id for job in found] == [None, None, used["new"]]
