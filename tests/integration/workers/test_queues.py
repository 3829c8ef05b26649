"""Queues by need: real worker processes, a real Redis, and jobs that the relay sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis
from typer.testing import CliRunner

from migrations.upgrade import upgrade
from secateur.core import recipes
from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.server.admin import app
from secateur.server.relay import Relay
from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.store.records import JobRecord
from secateur.workers.children import Nursery
from tests.support.stack import FOREIGN, Stack, until
from tests.support.store import PROJECT, a_graph, create, read, redis_server

GROWTH = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@pytest.fixture
def graph() -> LayerGraph:
    return a_graph()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    # A job ends as soon as a worker has it: which worker that is, is all that these tests look at.
    stack = Stack(tmp_path, max_run_seconds=0.1, poll_seconds=0.1)
    try:
        yield stack
    finally:
        stack.down()


@pytest.fixture
def store(stack: Stack, graph: LayerGraph) -> Iterator[Store]:
    upgrade(stack.settings.database_url)
    store = Store(stack.settings.database_url)
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, graph, cost_of(graph))
        work.commit()
    yield store
    store.close()


def test_a_worker_takes_the_jobs_of_its_queues_and_leaves_the_others(
    stack: Stack, store: Store, graph: LayerGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_the_cpu(seed: int) -> JobRecord:
        return create(store, graph, seed=seed)

    def of_the_gpu(seed: int) -> JobRecord:
        return create(store, graph, seed=seed, recipe=recipes.resolve(epochs=2_000))

    def wait_for(*jobs: JobRecord) -> None:
        until(lambda: all(read(store, job).state is JobState.EXPIRED for job in jobs), "a worker has had the jobs")

    monkeypatch.setenv("CELERY_BROKER_URL", FOREIGN["CELERY_BROKER_URL"])
    with redis_server(stack.folder) as url, redis.Redis.from_url(url) as client:
        lost = of_the_cpu(3)
        JobLedger(store).claim(lost.id, worker="gone", lease_seconds=3_600)
        relay = Relay(store, stack.settings.celery_broker_url, rest_seconds=0)
        small, large = of_the_cpu(0), of_the_gpu(1)
        relay.send_owed()
        stack.env |= {"SECATEUR_WORKER_QUEUES": "gpu", "SECATEUR_WORKER_NAME": "left"}
        monkeypatch.setenv("SECATEUR_DATA_DIR", str(stack.folder))
        stack.start("worker")
        wait_for(large)
        found = CliRunner().invoke(app, ["workers", "--json"])
        assert [json.loads(line) for line in found.stdout.splitlines()] == [
            {"worker": "gone", "queues": "no answer", "jobs": f"projects/{PROJECT}/jobs/{lost.id}"},
            {"worker": "left", "queues": "gpu", "jobs": "-"},
        ]
        assert (found.exit_code, found.stderr) == (1, "Queue cpu: no worker that answers takes it; jobs that wait: 1.\n")
        assert read(store, small).state is JobState.QUEUED
        assert (client.llen("cpu"), client.llen("gpu")) == (1, 0)
        stack.down()

        del stack.env["SECATEUR_WORKER_QUEUES"]
        second = of_the_gpu(2)
        relay.send_owed()
        stack.start("worker")
        wait_for(small, second)
        stack.down()
        relay.close()


def test_a_child_sees_the_device_of_its_worker_alone_and_takes_memory_as_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    for name in GROWTH:
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as open_until_then:

        def started(device: str | None = None) -> Nursery:
            return open_until_then.enter_context(Nursery(device, "tests.chaos.child"))

        nurseries = [started("2"), started(), started("")]
        monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # whoever runs the worker has the last word
        nurseries.append(started("2"))
        children = [nursery.child() for nursery in nurseries]
        found = [psutil.Process(child.pid).environ() for child in children]
        for child in children:
            child.kill()
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in found] == ["2", "0,1,2", "", "2"]
    assert all(environment.items() >= GROWTH.items() for environment in found[:3])
    assert found[3]["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"
