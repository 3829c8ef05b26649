"""One attempt as the parent sees it: a real store, a real child process."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from secateur.core.graph import LayerGraph
from secateur.core.jobs import MAX_ATTEMPTS, JobState
from secateur.core.resources import Compliance, Resource
from secateur.store import Store
from secateur.store.checkpoints import CheckpointStore
from secateur.store.creation import NewJob
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim
from secateur.workers.app import Worker
from secateur.workers.attempt import run_attempt
from secateur.workers.children import Nursery
from secateur.workers.settings import WorkerSettings
from tests.support.datasets import arrays, npz
from tests.support.s3 import S3
from tests.support.stack import until
from tests.support.store import PROJECT, a_graph, a_plan, a_report, a_spec, claim, create, events, read, store_with_network

Run = Callable[..., JobState]


@pytest.fixture
def graph() -> LayerGraph:
    return a_graph()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_with_network(f"sqlite:///{tmp_path}/secateur.db") as store:
        yield store


@pytest.fixture
def held(store: Store, graph: LayerGraph) -> Claim:
    return claim(store, create(store, graph))


@pytest.fixture
def run(store: Store, nursery: Nursery, tmp_path: Path) -> Run:
    """Runs an attempt and returns the state of the job after it."""

    def run(held: Claim, stopping: threading.Event | None = None) -> JobState:
        child = nursery.child()
        chosen = WorkerSettings(data_dir=tmp_path, poll_seconds=0.1)
        run_attempt(held, child, ledger=JobLedger(store), settings=chosen, stopping=stopping or threading.Event())
        pid = child.pid
        until(lambda: not psutil.pid_exists(pid), "the child is gone")
        with store.snapshot() as work:
            return work.jobs.get(PROJECT, held.job_id).state

    return run


def test_an_attempt_over_its_time_limit_expires_the_job(store: Store, held: Claim, run: Run) -> None:
    assert run(replace(held, run_seconds=0.3)) is JobState.EXPIRED
    with store.snapshot() as work:
        job = work.jobs.get(PROJECT, held.job_id)
    assert job.error_reason == "RUN_TIME_EXCEEDED"
    assert "0.3 s" in job.error_message


def test_the_child_reads_data_sets_from_the_folder_of_the_setting(
    store: Store, graph: LayerGraph, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_DATASETS_DIR", str(tmp_path))
    (tmp_path / "fashion_mnist.npz").write_bytes(npz(arrays(60, 9)))
    spec = replace(a_spec(graph), dataset="fashion_mnist")
    with store.unit_of_work() as work:
        job = work.jobs.create(NewJob(PROJECT, spec, work_key="key"))
        work.commit()
    assert run(claim(store, job)) is JobState.FAILED
    assert read(store, job).error_reason == "DATASET_CORRUPT"


@pytest.mark.parametrize(("limit", "end"), [(131_072, JobState.SUCCEEDED), (1_000, JobState.INFEASIBLE)])
def test_an_attempt_that_finds_everything_settled_ends_the_job_as_it_came_out(
    store: Store, graph: LayerGraph, held: Claim, run: Run, tmp_path: Path, limit: int, end: JobState
) -> None:
    ledger, report = JobLedger(store), a_report(graph, a_plan(graph))
    asked = Compliance(Resource.FLASH_BYTES, limit, 70_000, "bytes of the int8 file")
    ledger.settle_target(held, replace(report, compliance=(asked,), message="How it came out"))
    ledger.release(held, "the worker died before it said that all was done")
    with store.snapshot() as work:
        job = work.jobs.get(PROJECT, held.job_id)
    kept = CheckpointStore(WorkerSettings(data_dir=tmp_path).blob_url, job.id)
    kept.write("c" * 64, b"weights")
    assert run(claim(store, job)) is end
    assert events(store, job)[-1].message == ("Succeeded" if end is JobState.SUCCEEDED else "How it came out")
    assert kept.read("c" * 64) is None
    assert not any(event.progress for event in events(store, job))


def test_a_worker_that_shuts_down_gives_the_job_back_as_far_as_it_got(
    store: Store, held: Claim, run: Run, tmp_path: Path
) -> None:
    stopping = threading.Event()
    stopping.set()
    kept = CheckpointStore(WorkerSettings(data_dir=tmp_path).blob_url, held.job_id)
    kept.write("c" * 64, b"weights")
    for _ in range(MAX_ATTEMPTS):  # none of them counts
        assert run(held, stopping) is JobState.QUEUED
        with store.snapshot() as work:
            job = work.jobs.get(PROJECT, held.job_id)
        held = claim(store, job)
    assert kept.read("c" * 64) == b"weights"


def test_a_cancelled_job_ends_although_its_files_cannot_be_removed(store: Store, held: Claim, nursery: Nursery, s3: S3) -> None:
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, held.job_id)
        work.commit()
    settings = WorkerSettings(blob_url="s3://no-such-bucket")
    run_attempt(held, nursery.child(), ledger=JobLedger(store), settings=settings, stopping=threading.Event())
    with store.snapshot() as work:
        job = work.jobs.get(PROJECT, held.job_id)
    assert job.state is JobState.CANCELLED
    assert events(store, job)[-1].message == "Cancelled while running"


def test_an_attempt_whose_lease_went_to_another_stops_and_changes_nothing(store: Store, held: Claim, run: Run) -> None:
    ledger = JobLedger(store)
    ledger.release(held, "taken away")
    with store.snapshot() as work:
        job = work.jobs.get(PROJECT, held.job_id)
    second = claim(store, job)
    before, log = read(store, job), events(store, job)
    assert run(held) is JobState.RUNNING
    assert (read(store, job), events(store, job)) == (before, log)
    ledger.finish(second, JobState.SUCCEEDED)


def test_a_child_that_dies_costs_the_attempt_and_says_how(store: Store, held: Claim, nursery: Nursery, tmp_path: Path) -> None:
    child = nursery.child()
    os.kill(child.pid, signal.SIGKILL)
    settings = WorkerSettings(data_dir=tmp_path)
    run_attempt(held, child, ledger=JobLedger(store), settings=settings, stopping=threading.Event())
    with store.snapshot() as work:
        job = work.jobs.get(PROJECT, held.job_id)
    assert job.state is JobState.QUEUED
    assert "status -9" in events(store, job)[-1].message


def test_a_machine_with_no_room_for_a_child_gives_the_job_back_at_once_and_says_why(
    store: Store, graph: LayerGraph, nursery: Nursery, tmp_path: Path
) -> None:
    job = create(store, graph)
    worker = Worker(WorkerSettings(data_dir=tmp_path), JobLedger(store), nursery)
    stop = threading.Timer(0.5, worker.stop)
    stop.start()
    with no_more_open_files(), pytest.raises(OSError, match="Too many open files"):
        worker.compress(job.id)
    assert stop.finished.is_set()  # until then the queue was left to others
    assert read(store, job).state is JobState.QUEUED
    assert "Too many open files" in events(store, job)[-1].message
    assert JobLedger(store).claim_next(worker="w", lease_seconds=9) is None  # not before what is missing may be back


def test_a_worker_whose_nursery_has_no_room_leaves_the_queue_to_others_for_a_while(
    store: Store, graph: LayerGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = (create(store, graph, seed=seed) for seed in range(2))
    with Nursery(module="tests.chaos.child") as nursery, ThreadPoolExecutor(1) as thread:
        (folder,) = tmp_path.glob("secateur-worker-*")
        aside = folder.rename(tmp_path / "aside")  # as full as a disk can be
        worker = Worker(WorkerSettings(data_dir=tmp_path), JobLedger(store), nursery)
        running = thread.submit(worker.compress, first.id)
        until(lambda: read(store, first).attempt == 1 and read(store, first).state is JobState.QUEUED, "it is given back")
        assert events(store, first)[-1].message.endswith("No such file or directory")
        time.sleep(0.5)
        assert (read(store, second).state, read(store, second).attempt) == (JobState.QUEUED, 0)
        worker.stop()
        running.result(60)
        aside.rename(folder)
        assert nursery.child().pid


@contextmanager
def no_more_open_files() -> Iterator[None]:
    """Lets this process open no further file or socket."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
