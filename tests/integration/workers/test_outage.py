"""Database or blob store go away under a running attempt: a real PostgreSQL that is killed, a SQLite that somebody has locked,
an S3 that is stopped."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from sqlalchemy import make_url, text

from migrations.upgrade import upgrade
from secateur.core import recipes
from secateur.core.cost import cost_of
from secateur.core.errors import Unavailable
from secateur.core.jobs import JobStage, JobState
from secateur.store import Store
from secateur.store.database import Timeouts
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim, JobRecord
from secateur.workers.attempt import run_attempt
from secateur.workers.children import Child, Nursery
from secateur.workers.lease import Lease
from secateur.workers.settings import WorkerSettings
from tests.chaos.child import MISSED
from tests.support.postgres import Postgres, postgres_server
from tests.support.s3 import S3
from tests.support.server import PATIENCE_S
from tests.support.stack import until
from tests.support.store import PROJECT, a_graph, create, events, read

T = TypeVar("T")

EPOCHS = 20
"""Of a tenth of a second each."""
LONG = 3000
"""Epochs of a job that does not end by itself."""


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with postgres_server(synchronous_commit="on") as server:
        yield server


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(module="tests.chaos.child") as nursery:
        yield nursery


@dataclass
class Running:
    """An attempt that has reported its first epoch."""

    store: Store
    job: JobRecord
    child: Child
    ended: Future[None]

    def progress(self) -> list[int]:
        return [event.progress.epoch for event in events(self.store, self.job) if event.progress]


def make_job(url: str, lock_seconds: float = 30.0, *, epochs: int = EPOCHS, seed: int = 0) -> tuple[Store, JobRecord]:
    upgrade(url)
    store, graph = Store(url, timeouts=Timeouts(lock_seconds)), a_graph()
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, graph, cost_of(graph))
        work.commit()
    return store, create(store, graph, recipe=recipes.resolve(epochs=epochs), seed=seed)


def start(
    nursery: Nursery,
    url: str,
    folder: Path,
    threads: ThreadPoolExecutor,
    lease_seconds: float,
    lock_seconds: float = 30.0,
    epochs: int = EPOCHS,
    **chosen: str,
) -> Running:
    store, job = make_job(url, lock_seconds, epochs=epochs)
    settings = WorkerSettings.model_validate(
        {"data_dir": folder, "poll_seconds": 0.2, "lease_seconds": lease_seconds, **chosen}
    )
    running = attempt(nursery, store, job, settings, threads)
    until(lambda: running.progress() != [], "the first epoch is reported")
    return running


def attempt(nursery: Nursery, store: Store, job: JobRecord, settings: WorkerSettings, threads: ThreadPoolExecutor) -> Running:
    child = nursery.child()
    ledger = JobLedger(store)
    claim: Claim | None = ledger.claim_next(worker="w", lease_seconds=settings.lease_seconds)
    assert claim is not None
    ended = threads.submit(run_attempt, claim, child, ledger=ledger, settings=settings, stopping=threading.Event())
    return Running(store, job, child, ended)


def test_a_short_outage_costs_nothing(own_postgres: Postgres, nursery: Nursery, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads, own_postgres.database() as url:
        running = start(nursery, url, tmp_path, threads, lease_seconds=60)
        own_postgres.kill()
        time.sleep(1)
        own_postgres.start()
        running.ended.result(PATIENCE_S)
        job = read(running.store, running.job)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
        assert running.progress() == list(range(1, EPOCHS + 1))
        assert f"Epoch {EPOCHS} of {EPOCHS}" in [event.message for event in events(running.store, job)]
        running.store.close()


def test_an_outage_longer_than_the_lease_ends_the_attempt_and_gives_the_job_back(
    own_postgres: Postgres, nursery: Nursery, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as threads, own_postgres.database() as url:
        running = start(nursery, url, tmp_path, threads, lease_seconds=1, epochs=LONG)
        own_postgres.kill()
        until(lambda: not psutil.pid_exists(running.child.pid), "the child is killed although the database cannot be asked")
        assert not running.ended.done()
        own_postgres.start()
        running.ended.result(PATIENCE_S)
        job = read(running.store, running.job)
        assert (job.state, job.attempt, job.outcomes) == (JobState.QUEUED, 1, ())
        assert "database was away" in events(running.store, job)[-1].message
        assert execute(running.store, "SELECT lost_attempts FROM jobs") == [(0,)]
        running.store.close()


def test_a_database_that_is_locked_for_long_costs_nothing(nursery: Nursery, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        running = start(nursery, f"sqlite:///{tmp_path}/secateur.db", tmp_path, threads, lease_seconds=60, lock_seconds=0.2)
        blocker = sqlite3.connect(tmp_path / "secateur.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        time.sleep(1.5)
        blocker.close()
        running.ended.result(PATIENCE_S)
        assert read(running.store, running.job).state is JobState.SUCCEEDED
        assert running.progress() == list(range(1, EPOCHS + 1))
        running.store.close()


def test_an_attempt_whose_job_went_to_another_while_the_database_was_away_ends_quietly(
    nursery: Nursery, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as threads:
        url = f"sqlite:///{tmp_path}/secateur.db"
        running = start(nursery, url, tmp_path, threads, lease_seconds=1, epochs=LONG)
        with closing(sqlite3.connect(tmp_path / "secateur.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            until(lambda: not psutil.pid_exists(running.child.pid), "the child is killed, whatever waits", timeout=15)
            blocker.execute("UPDATE jobs SET attempt = 2")
            blocker.execute("COMMIT")
        running.ended.result(timeout=60)
        job = read(running.store, running.job)
        assert (job.state, job.attempt) == (JobState.RUNNING, 2)
        running.store.close()


def test_a_target_that_misses_a_limit_makes_the_job_infeasible(nursery: Nursery, tmp_path: Path) -> None:
    store, job = make_job(f"sqlite:///{tmp_path}/secateur.db", epochs=1, seed=MISSED)
    settings = WorkerSettings(data_dir=tmp_path, poll_seconds=0.001)  # less than a heartbeat takes, as on a slow database
    with ThreadPoolExecutor() as threads:
        attempt(nursery, store, job, settings, threads).ended.result(timeout=60)
    assert read(store, job).state is JobState.INFEASIBLE
    told = events(store, job)
    assert told[-1].message == "flash_bytes is missed"
    assert {JobStage.TRAINING, JobStage.EXPORTING} <= {event.stage for event in told}
    store.close()


def test_what_the_database_refuses_for_good_fails_the_job_at_once(nursery: Nursery, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads, closing(sqlite3.connect(tmp_path / "secateur.db")) as database:
        running = start(nursery, f"sqlite:///{tmp_path}/secateur.db", tmp_path, threads, lease_seconds=60)
        database.execute("CREATE TRIGGER refuse BEFORE INSERT ON outcomes BEGIN SELECT RAISE(ABORT, 'refused'); END")
        running.ended.result(PATIENCE_S)
        job = read(running.store, running.job)
        assert (job.state, job.error_reason, job.attempt, job.outcomes) == (JobState.FAILED, "INTERNAL", 1, ())
        running.store.close()


def test_what_is_done_although_its_answer_is_lost_is_done_once() -> None:
    # A commit that waits for a standby is done: who cuts its connection loses the answer alone.
    with (
        ThreadPoolExecutor() as threads,
        postgres_server(synchronous_standby_names="nobody") as server,
        server.database() as url,
    ):
        store, job = make_job(url)
        database, waiting = make_url(url).database, "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

        def losing_the_first_answer(call: Callable[[JobLedger], T]) -> T:
            execute(store, f"ALTER DATABASE {database} SET synchronous_commit = on")
            with closing(Store(url)) as own:
                called = threads.submit(call, JobLedger(own))
                until(lambda: execute(store, f"SELECT count(*) {waiting}") == [(1,)], "it is done, but not answered")
                execute(store, f"ALTER DATABASE {database} RESET synchronous_commit")  # for the connections to come
                execute(store, f"SELECT pg_terminate_backend(pid) {waiting}")
                return called.result(PATIENCE_S)

        def claim(ledger: JobLedger) -> Claim | None:
            with pytest.raises(Unavailable):
                ledger.claim_next(worker="w", lease_seconds=60)
            assert read(store, job).state is JobState.RUNNING
            return ledger.claim_next(worker="w", lease_seconds=60)

        held = losing_the_first_answer(claim)
        assert held is not None
        assert (held.job_id, held.attempt) == (job.id, 2)
        assert execute(store, "SELECT lost_attempts FROM jobs") == [(0,)]

        def report(ledger: JobLedger) -> None:
            with Lease(ledger, held, seconds=60, on_lost=threading.Event().set) as lease:
                lease.report(message="Told once")

        losing_the_first_answer(report)
        assert [event.message for event in events(store, job)].count("Told once") == 1
        store.close()


def execute(store: Store, statement: str) -> list[tuple[Any, ...]]:
    with store.unit_of_work() as work:
        found = work.session.execute(text(statement))
        rows = [tuple(row) for row in found] if found.returns_rows else []  # type: ignore[attr-defined]
        work.commit()
    return rows


def test_a_blob_store_that_is_away_costs_an_attempt_and_the_next_goes_on_from_the_checkpoint(s3: S3, tmp_path: Path) -> None:
    url, blobs = f"sqlite:///{tmp_path}/secateur.db", s3.bucket()
    # A nursery of its own: the credentials are in the environment since the fixture of the store was made.
    with Nursery(module="tests.chaos.child") as nursery, ThreadPoolExecutor() as threads:
        running = start(nursery, url, tmp_path, threads, lease_seconds=60, blob_url=blobs)
        with s3.outage():
            running.ended.result(PATIENCE_S)
        job = read(running.store, running.job)
        assert (job.state, job.attempt, job.error_reason) == (JobState.QUEUED, 1, "")
        assert "blob store cannot be reached" in events(running.store, job)[-1].message
        # Nobody has it before what is missing may be back.
        assert JobLedger(running.store).claim_next(worker="w", lease_seconds=60) is None
        done = max(running.progress())
        later = Store(url, clock=lambda: datetime.now(UTC) + timedelta(minutes=1))  # the pause before the next attempt is over
        settings = WorkerSettings(data_dir=tmp_path, poll_seconds=0.2, lease_seconds=60, blob_url=blobs)
        second = attempt(nursery, later, job, settings, threads)
        second.ended.result(PATIENCE_S)
        job = read(later, job)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
        assert second.progress().count(1) == 1
        assert max(second.progress()[:done]) == done
        running.store.close()
        later.close()
