"""Database or blob store go away under a running attempt: a real PostgreSQL that is killed, a SQLite that somebody has locked,
an S3 that is stopped."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from migrations.upgrade import upgrade
from secateur.core import recipes
from secateur.core.cost import cost_of
from secateur.core.jobs import JobState
from secateur.store import Store
from secateur.store.database import Timeouts
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim, JobRecord
from secateur.workers.attempt import run_attempt
from secateur.workers.children import Child, Nursery
from secateur.workers.settings import WorkerSettings
from tests.support.postgres import Postgres, postgres_server
from tests.support.s3 import S3
from tests.support.stack import until
from tests.support.store import PROJECT, a_graph, create, events, read

EPOCHS = 20
"""Of a tenth of a second each."""


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


def start(
    nursery: Nursery,
    url: str,
    folder: Path,
    threads: ThreadPoolExecutor,
    lease_seconds: float,
    lock_seconds: float = 30.0,
    **chosen: str,
) -> Running:
    upgrade(url)
    store, graph = Store(url, timeouts=Timeouts(lock_seconds)), a_graph()
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, graph, cost_of(graph))
        work.commit()
    job = create(store, graph, recipe=recipes.resolve(epochs=EPOCHS))
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
        running.ended.result(timeout=60)
        job = read(running.store, running.job)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
        assert running.progress() == list(range(1, EPOCHS + 1))
        running.store.close()


def test_an_outage_longer_than_the_lease_ends_the_attempt_and_gives_the_job_back(
    own_postgres: Postgres, nursery: Nursery, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as threads, own_postgres.database() as url:
        running = start(nursery, url, tmp_path, threads, lease_seconds=1)
        own_postgres.kill()
        until(lambda: not psutil.pid_exists(running.child.pid), "the child is killed although the database cannot be asked")
        assert not running.ended.done()
        own_postgres.start()
        running.ended.result(timeout=60)
        job = read(running.store, running.job)
        assert (job.state, job.attempt, job.outcomes) == (JobState.QUEUED, 1, ())
        assert "database was away" in events(running.store, job)[-1].message
        running.store.close()


def test_a_database_that_is_locked_for_long_costs_nothing(nursery: Nursery, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        running = start(nursery, f"sqlite:///{tmp_path}/secateur.db", tmp_path, threads, lease_seconds=60, lock_seconds=0.2)
        blocker = sqlite3.connect(tmp_path / "secateur.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        time.sleep(1.5)
        blocker.close()
        running.ended.result(timeout=60)
        assert read(running.store, running.job).state is JobState.SUCCEEDED
        assert running.progress() == list(range(1, EPOCHS + 1))
        running.store.close()


def test_a_blob_store_that_is_away_costs_an_attempt_and_the_next_goes_on_from_the_checkpoint(s3: S3, tmp_path: Path) -> None:
    url, blobs = f"sqlite:///{tmp_path}/secateur.db", s3.bucket()
    # A nursery of its own: the credentials are in the environment since the fixture of the store was made.
    with Nursery(module="tests.chaos.child") as nursery, ThreadPoolExecutor() as threads:
        running = start(nursery, url, tmp_path, threads, lease_seconds=60, blob_url=blobs)
        with s3.outage():
            running.ended.result(timeout=60)
        job = read(running.store, running.job)
        assert (job.state, job.attempt, job.error_reason) == (JobState.QUEUED, 1, "")
        assert "blob store cannot be reached" in events(running.store, job)[-1].message
        done = max(running.progress())
        later = Store(url, clock=lambda: datetime.now(UTC) + timedelta(minutes=1))  # the pause before the next attempt is over
        settings = WorkerSettings(data_dir=tmp_path, poll_seconds=0.2, lease_seconds=60, blob_url=blobs)
        second = attempt(nursery, later, job, settings, threads)
        second.ended.result(timeout=60)
        job = read(later, job)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
        assert second.progress().count(1) == 1
        assert max(second.progress()[:done]) == done
        running.store.close()
        later.close()
