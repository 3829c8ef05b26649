"""The relay and the reaper against a real Redis and a real database."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
import structlog

from secateur.core import recipes
from secateur.core.datasets import Dataset, content
from secateur.core.graph import LayerGraph
from secateur.core.jobs import COMPRESS_TASK, JobState
from secateur.core.routing import Need
from secateur.server.reaper import Reaper
from secateur.server.relay import Relay
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.checkpoints import CheckpointStore
from secateur.store.ledger import JobLedger
from tests.support.server import Api, make_settings, running
from tests.support.stack import until
from tests.support.store import PROJECT, a_graph, create, owed, read, redis_server, store_with_network


def messages(redis_url: str, need: Need = Need.CPU) -> list[tuple[str, list[str]]]:
    """Returns task name and arguments of every message in the queue of a need, oldest first."""
    with redis.Redis.from_url(redis_url) as client:
        bodies = [json.loads(raw) for raw in reversed(client.lrange(need.value, 0, -1))]
    return [(body["headers"]["task"], json.loads(base64.b64decode(body["body"]))[0]) for body in bodies]


@pytest.fixture
def graph() -> LayerGraph:
    return a_graph()


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Store]:
    with store_with_network(make_settings(tmp_path).database_url) as store:
        yield store


def test_owed_messages_are_sent_once_in_order_with_nothing_but_the_id(
    tmp_path: Path, own_store: Store, graph: LayerGraph
) -> None:
    jobs = [create(own_store, graph, seed=seed) for seed in range(3)]
    with redis_server(tmp_path) as redis_url:
        relay = Relay(own_store, make_settings(tmp_path).celery_broker_url, rest_seconds=0)
        relay.send_owed()
        relay.send_owed()
        relay.close()

        assert messages(redis_url) == [(COMPRESS_TASK, [job.id]) for job in jobs]
        assert owed(own_store) == []


def test_a_redis_that_others_use_too_is_used_where_its_url_says(tmp_path: Path, own_store: Store, graph: LayerGraph) -> None:
    job = create(own_store, graph)
    with redis_server(tmp_path) as redis_url:
        settings = make_settings(tmp_path, redis_url=f"{redis_url}?db=3")
        relay = Relay(own_store, settings.celery_broker_url, rest_seconds=0)
        relay.send_owed()
        relay.close()

        assert messages(settings.redis_url) == [(COMPRESS_TASK, [job.id])]
        assert messages(redis_url) == []


def test_every_job_goes_to_the_queue_of_what_it_needs(tmp_path: Path, own_store: Store, graph: LayerGraph) -> None:
    uploaded = Dataset("large", "Large", (8, 8, 1), 10, 10_000_000, 1_000)
    with own_store.unit_of_work() as work:
        work.datasets.put(PROJECT, uploaded, digest="a" * 64, size_bytes=1)
        work.commit()
    small = create(own_store, graph)
    large = create(own_store, graph, dataset=content("a" * 64), dataset_id="large")
    many = create(own_store, graph, recipe=recipes.resolve(epochs=2_000))
    unknown = create(own_store, graph, dataset="of-a-newer-version")
    with redis_server(tmp_path) as redis_url:
        relay = Relay(own_store, make_settings(tmp_path).celery_broker_url, rest_seconds=0)
        relay.send_owed()
        relay.close()

        assert messages(redis_url, Need.CPU) == [(COMPRESS_TASK, [job.id]) for job in (small, unknown)]
        assert messages(redis_url, Need.GPU) == [(COMPRESS_TASK, [job.id]) for job in (large, many)]
        assert owed(own_store) == []


def test_messages_stay_owed_while_redis_is_away_and_go_out_when_it_is_back(
    tmp_path: Path, own_store: Store, graph: LayerGraph
) -> None:
    job = create(own_store, graph)
    relay = Relay(own_store, make_settings(tmp_path).celery_broker_url, rest_seconds=0)

    with structlog.testing.capture_logs() as logs:
        started = time.monotonic()
        relay.send_owed()
        assert time.monotonic() - started < 60  # it asks once
        relay.send_owed()
    assert owed(own_store) == [job.id]
    assert len(logs) == 1  # not one every second

    with redis_server(tmp_path) as redis_url:
        relay.send_owed()
        assert messages(redis_url) == [(COMPRESS_TASK, [job.id])]
        assert owed(own_store) == []

    later = create(own_store, graph, seed=1)
    with structlog.testing.capture_logs() as logs:
        relay.send_owed()
    assert owed(own_store) == [later.id]
    assert len(logs) == 1
    relay.close()


def test_a_queue_gets_no_more_messages_than_wake_everybody_and_more_once_some_were_taken(
    tmp_path: Path, own_store: Store, graph: LayerGraph
) -> None:
    jobs = [create(own_store, graph, seed=seed).id for seed in range(520)]
    large = create(own_store, graph, recipe=recipes.resolve(epochs=2_000)).id
    with redis_server(tmp_path) as redis_url, redis.Redis.from_url(redis_url) as client:
        relay = Relay(own_store, make_settings(tmp_path).celery_broker_url, rest_seconds=0)
        relay.send_owed()
        relay.send_owed()

        assert messages(redis_url) == [(COMPRESS_TASK, [job]) for job in jobs[:500]]
        assert messages(redis_url, Need.GPU) == [(COMPRESS_TASK, [large])]  # it does not wait behind the other queue
        assert owed(own_store) == jobs[500:]

        resting = Relay(own_store, make_settings(tmp_path).celery_broker_url, rest_seconds=3600)
        resting.send_owed()  # and finds it full
        client.rpop(Need.CPU, 7)
        resting.send_owed()
        assert owed(own_store) == jobs[500:]
        relay.send_owed()
        for one in (resting, relay):
            one.close()

        assert messages(redis_url) == [(COMPRESS_TASK, [job]) for job in jobs[7:507]]
        assert owed(own_store) == jobs[507:]


def test_a_created_job_is_on_the_queue_at_once(api: Api, settings: ServerSettings) -> None:
    job_id = api.create_job().name.rpartition("/")[2]

    until(lambda: (COMPRESS_TASK, [job_id]) in messages(settings.redis_url), "its message is there")


def test_the_reaper_gives_the_job_of_a_silent_worker_to_the_next(own_store: Store, graph: LayerGraph, tmp_path: Path) -> None:
    job = create(own_store, graph)
    assert JobLedger(own_store).claim(job.id, worker="w", lease_seconds=-1) is not None
    assert owed(own_store) == []

    reaper = Reaper(own_store, blob_url=tmp_path.as_uri(), lease_seconds=0.5, reap_seconds=1, stopping=threading.Event())
    reaper.reap()
    assert read(own_store, job).state is JobState.RUNNING  # the database may just be back: the worker gets its chance

    def is_given_back() -> bool:
        reaper.reap()
        return read(own_store, job).state is JobState.QUEUED

    until(is_given_back, "the worker has had it")
    assert owed(own_store) == [job.id]


def test_checkpoints_of_a_job_that_the_reaper_ends_are_removed(own_store: Store, graph: LayerGraph, tmp_path: Path) -> None:
    job, settings = create(own_store, graph), make_settings(tmp_path, lease_seconds=0.3, reap_seconds=0.1)
    JobLedger(own_store).claim(job.id, worker="w", lease_seconds=0)
    with own_store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, job.id)
        work.commit()
    kept = CheckpointStore(settings.blob_url, job.id)
    kept.write("c" * 64, b"weights")
    with running(settings):
        until(lambda: kept.read("c" * 64) is None, "they are gone")
    assert read(own_store, job).state is JobState.CANCELLED


def test_the_reaper_sends_again_what_the_queue_lost(own_store: Store, graph: LayerGraph, tmp_path: Path) -> None:
    job = create(own_store, graph)
    with own_store.unit_of_work() as work:
        (message,) = work.outbox.unsent(Need.CPU, 1)
        work.outbox.mark_sent([message.id], datetime.now(UTC) - timedelta(hours=1))
        work.commit()
    assert owed(own_store) == []

    Reaper(own_store, blob_url=tmp_path.as_uri(), lease_seconds=30, reap_seconds=5, stopping=threading.Event()).reap()

    assert owed(own_store) == [job.id]
