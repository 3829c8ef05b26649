"""The life cycle of jobs against a small model of it: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from secateur.core.errors import Conflict
from secateur.core.graph import LayerGraph
from secateur.core.jobs import MAX_ATTEMPTS, JobPriority, JobState, Scheduling, retry_seconds
from secateur.core.planning import Plan
from secateur.core.routing import Need
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.journal import WORKER_LOST
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim
from tests.support.postgres import Postgres
from tests.support.store import PROJECT, Clock, a_report, a_spec

LEASE_S: Final = 30.0
PENDING_S: Final = 300.0
RUN_S: Final = 200.0
OVERRUN_S: Final = 30.0
RESEND_S: Final = 60.0
WORKS: Final = 3
TARGETS: Final = 2
ENDS: Final = (JobState.SUCCEEDED, JobState.FAILED, JobState.INFEASIBLE)


@dataclass
class Modelled:
    """A job as the model sees it."""

    work: int
    priority: JobPriority
    created: datetime
    state: JobState = JobState.QUEUED
    attempt: int = 0
    lost: int = 0
    lease: datetime | None = None
    waits_until: datetime | None = None
    runs_until: datetime | None = None
    not_before: datetime | None = None
    sent: list[datetime | None] = field(default_factory=lambda: [None])
    cancel_requested: bool = False
    settled: dict[int, float] = field(default_factory=dict)
    events: int = 1

    @property
    def is_live(self) -> bool:
        """Whether a request for the same work joins it."""
        joins = self.state in (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
        return joins and not self.cancel_requested

    def move(self, state: JobState, now: datetime) -> None:
        """What every move does."""
        assert not self.state.is_terminal
        self.state, self.sent = state, []
        self.lease = self.runs_until = self.waits_until = self.not_before = None
        self.events += 1
        if state is JobState.QUEUED:
            self.waits_until = now + timedelta(seconds=PENDING_S)
            self.sent = [None]

    def give_back(self, now: datetime, *, counts: bool, later: bool = False) -> None:
        """What becomes of a job whose attempt will not go on."""
        if self.cancel_requested:
            return self.move(JobState.CANCELLED, now)
        self.lost += counts
        if self.lost >= MAX_ATTEMPTS:
            return self.move(JobState.FAILED, now)
        self.move(JobState.QUEUED, now)
        if later:
            self.not_before, self.sent = now + timedelta(seconds=retry_seconds(self.lost)), []
        return None


class LifeCycle(RuleBasedStateMachine):
    """Clients, workers, the relay and the reaper, in any order."""

    def __init__(self, store: Store, clock: Clock, graph: LayerGraph, plan: Plan) -> None:
        super().__init__()
        self.store, self.clock, self.graph, self.plan = store, clock, graph, plan
        self.ledger = JobLedger(store, max_run_seconds=RUN_S)
        self.jobs: dict[str, Modelled] = {}
        self.claims: list[Claim] = []

    @initialize()
    def begin_with_a_stale_claim(self) -> None:
        self.create(0, JobPriority.NORMAL)
        self.claim()
        self.give(self.claims[0], "")
        self.claim()

    @rule(work=st.integers(0, WORKS - 1), priority=st.sampled_from(JobPriority))
    def create(self, work: int, priority: JobPriority) -> None:
        spec = a_spec(self.graph, seed=work, targets=TARGETS)
        with self.store.unit_of_work() as open_work:
            scheduling = Scheduling(priority, max_pending_seconds=PENDING_S)
            job = open_work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("test"), scheduling=scheduling))
            open_work.commit()
        live = [job_id for job_id, known in self.jobs.items() if known.work == work and known.is_live]
        if live:
            assert [job.id] == live
            return
        assert job.id not in self.jobs
        until = self.clock.now + timedelta(seconds=PENDING_S)
        self.jobs[job.id] = Modelled(work, priority, self.clock.now, waits_until=until)

    @rule()
    def claim(self) -> None:
        held = self.ledger.claim_next(worker="worker", lease_seconds=LEASE_S)
        now = self.clock.now
        may = {
            job_id: (-job.priority, job.created, job_id)
            for job_id, job in self.jobs.items()
            if job.state is JobState.QUEUED and (job.not_before is None or job.not_before <= now)
        }
        assert (held.job_id if held else None) == min(may, key=lambda job_id: may[job_id], default=None)
        if held is None:
            return
        job = self.jobs[held.job_id]
        job.move(JobState.RUNNING, now)
        job.attempt += 1
        assert held.attempt == job.attempt
        assert {report.target_index for report in held.settled} == set(job.settled)
        job.lease, job.runs_until = now + timedelta(seconds=LEASE_S), now + timedelta(seconds=RUN_S)
        self.claims.append(held)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def heartbeat(self, data: Any) -> None:
        held, job = self.some_claim(data)
        if self.refused(job, held, lambda: self.ledger.heartbeat(held, LEASE_S)):
            return
        job.lease = self.clock.now + timedelta(seconds=LEASE_S)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def report(self, data: Any) -> None:
        held, job = self.some_claim(data)
        if not self.refused(job, held, lambda: self.ledger.report(held, message="at work")):
            job.events += 1
            self.ledger.report(held, message="at work", again=True)  # nobody knew whether it had arrived

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), index=st.integers(0, TARGETS - 1), accuracy=st.sampled_from([0.5, 0.75]))
    def settle(self, data: Any, index: int, accuracy: float) -> None:
        held, job = self.some_claim(data)
        report = a_report(self.graph, self.plan, target_index=index, accuracy=accuracy)
        if not self.refused(job, held, lambda: self.ledger.settle_target(held, report)) and index not in job.settled:
            job.settled[index] = accuracy
            job.events += 1

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=st.sampled_from(ENDS))
    def finish(self, data: Any, state: JobState) -> None:
        held, job = self.some_claim(data)
        if not self.refused(job, held, lambda: self.ledger.finish(held, state)):
            job.move(state, self.clock.now)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), reason=st.sampled_from(["", WORKER_LOST, "RESOURCES_MISSING"]))
    def release(self, data: Any, reason: str) -> None:
        held, _ = self.some_claim(data)
        self.give(held, reason)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs, key=lambda known: self.jobs[known].created)))
        job = self.jobs[job_id]
        with self.store.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job_id)
            work.commit()
        if job.state is JobState.QUEUED:
            job.move(JobState.CANCELLED, self.clock.now)
        elif job.state is JobState.RUNNING and not job.cancel_requested:
            job.cancel_requested = True
            job.events += 1

    @rule()
    def relay(self) -> None:
        with self.store.unit_of_work() as work:
            owed = [message for need in Need for message in work.outbox.unsent(need, 1000)]
            work.outbox.mark_sent([message.id for message in owed], self.clock.now)
            work.commit()
        expected = sorted(job_id for job_id, job in self.jobs.items() for sent in job.sent if sent is None)
        assert sorted(message.job_id for message in owed) == expected
        for job in self.jobs.values():
            job.sent = [sent or self.clock.now for sent in job.sent]

    @rule()
    def reap(self) -> None:
        now = self.clock.now
        with self.store.unit_of_work() as work:
            reaped = work.jobs.reap(now, resend_after=timedelta(seconds=RESEND_S))
            work.commit()
        expired, resent = set(), set()
        for job_id, job in self.jobs.items():
            assert (job_id in reaped.ended) == (job.lease is not None and job.lease < now)
            if job_id in reaped.ended:
                job.give_back(now, counts=True)
                assert reaped.ended[job_id] is job.state
            overdue = job.runs_until is not None and job.runs_until + timedelta(seconds=OVERRUN_S) < now
            if overdue or (job.waits_until is not None and job.waits_until < now):
                job.move(JobState.EXPIRED, now)
                expired.add(job_id)
            on_its_way = any(sent is None or sent >= now - timedelta(seconds=RESEND_S) for sent in job.sent)
            if job.state is JobState.QUEUED and not on_its_way and (job.not_before is None or job.not_before <= now):
                job.sent.append(None)
                resent.add(job_id)
        assert (set(reaped.expired), set(reaped.resent)) == (expired, resent)

    @rule(seconds=st.sampled_from([1.0, 12.0, 31.0, 61.0, 250.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def both_say_the_same(self) -> None:
        with self.store.snapshot() as work:
            jobs = work.jobs.list(PROJECT).items
        assert {job.id for job in jobs} == set(self.jobs)
        for job in jobs:
            known = self.jobs[job.id]
            assert (job.state, job.attempt, job.last_sequence) == (known.state, known.attempt, known.events)
            assert job.cancel_requested is known.cancel_requested
            assert (job.end_time is not None) is known.state.is_terminal
            results = {outcome.report.target_index: outcome.report.artifacts[1].accuracy for outcome in job.outcomes}
            assert results == known.settled, "a result was accepted twice, or lost"

    @invariant()
    def at_most_one_live_job_does_a_work(self) -> None:
        live = [job.work for job in self.jobs.values() if job.is_live]
        assert len(live) == len(set(live))

    def teardown(self) -> None:
        with self.store.snapshot() as work:
            for job_id, known in self.jobs.items():
                events = work.jobs.events_after(job_id, 0, 10_000)
                assert [event.sequence for event in events] == list(range(1, known.events + 1))
                attempts = [event.attempt for event in events]
                assert attempts == sorted(attempts)
                assert not any(event.state.is_terminal for event in events[:-1])

    def give(self, held: Claim, reason: str) -> None:
        """Gives a job back."""
        job = self.jobs[held.job_id]
        if not self.refused(job, held, lambda: self.ledger.release(held, "given back", reason=reason)):
            job.give_back(self.clock.now, counts=bool(reason), later=reason == "RESOURCES_MISSING")

    def some_claim(self, data: Any) -> tuple[Claim, Modelled]:
        """Draws a claim, current or stale."""
        held = self.claims[data.draw(st.integers(0, len(self.claims) - 1))]
        return held, self.jobs[held.job_id]

    def refused(self, job: Modelled, held: Claim, write: Any) -> bool:
        """Writes with a claim; returns whether it was refused, which must be so exactly for a stale one."""
        stale = job.state is not JobState.RUNNING or job.attempt != held.attempt
        if not stale:
            write()
            return False
        with pytest.raises(Conflict, match="no longer holds"):
            write()
        return True


@pytest.fixture
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Makes stores on databases of their own, each with the same architecture in it."""
    with ExitStack() as stack:

        def sqlite() -> str:
            template = request.getfixturevalue("sqlite_template")
            return f"sqlite:///{shutil.copy(template, tmp_path / f'{len(list(tmp_path.iterdir()))}.db')}"

        def postgresql() -> str:
            postgres: Postgres = request.getfixturevalue("postgres")
            return stack.enter_context(postgres.database(request.getfixturevalue("postgres_template")))

        def make(clock: Clock) -> Store:
            store = Store({"sqlite": sqlite, "postgresql": postgresql}[request.param](), clock=clock)
            stack.callback(store.close)
            return store

        yield make


@pytest.mark.parametrize("copies", ["sqlite", "postgresql"], indirect=True)
def test_the_store_does_what_the_model_says(copies: Any, graph: LayerGraph, chosen_plan: Plan) -> None:
    def machine() -> LifeCycle:
        clock = Clock()
        return LifeCycle(copies(clock), clock, graph, chosen_plan)

    few = settings(
        max_examples=6,
        stateful_step_count=25,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.reuse, Phase.generate],  # 25 steps are read in less time than they are shrunk
    )
    run_state_machine_as_test(machine, settings=few)  # type: ignore[arg-type]  # called for each example: a function will do
