"""Wake-ups over a real Redis: sent after each commit, resumed after an outage, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.store.wakeups import Wakeups
from tests.support.store import PROJECT, Clock, claim, create, read, redis_server

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def waking(database_url: str, redis_url: str, clock: Clock) -> Iterator[Store]:
    """The store of the test, with wake-ups."""
    wakeups = Wakeups(redis_url)
    waking = Store(database_url, wakeups=wakeups, clock=clock)
    yield waking
    waking.close()
    wakeups.close()


def heard(redis_url: str, work: Callable[[], None]) -> list[str | None]:
    """Listens, does the work once subscribed, and returns what was heard up to the wake-up "end"."""

    async def listen() -> list[str | None]:
        heard: list[str | None] = []
        wakeups = Wakeups(redis_url)
        async with asyncio.timeout(TIMEOUT_S), aclosing(wakeups.listen()) as messages:
            async for job_id in messages:
                heard.append(job_id)
                if job_id is None:
                    await asyncio.to_thread(work)
                    await asyncio.to_thread(wakeups.publish, "end")
                if job_id == "end":
                    break
        wakeups.close()
        return heard

    return asyncio.run(listen())


def test_every_commit_that_changes_a_job_wakes_its_watchers(waking: Store, graph: LayerGraph, redis_url: str) -> None:
    ids = []

    def work() -> None:
        job = create(waking, graph)
        ids.append(job.id)
        ledger = JobLedger(waking)
        held = claim(waking, job)
        ledger.report(held, message="at work")
        with waking.unit_of_work() as unit:
            unit.jobs.cancel(PROJECT, job.id)
            unit.commit()
        ledger.finish(held, JobState.CANCELLED)

    # Nobody can watch a job before it was created.
    assert heard(redis_url, work) == [None, *ids * 4, "end"]


def test_what_changes_nothing_wakes_nobody(waking: Store, graph: LayerGraph, redis_url: str) -> None:
    job = create(waking, graph)
    held = claim(waking, job)

    def work() -> None:
        create(waking, graph)  # joins
        JobLedger(waking).heartbeat(held, 30)
        with waking.unit_of_work() as unit:
            unit.jobs.cancel(PROJECT, job.id)  # and no commit

    assert heard(redis_url, work) == [None, "end"]


def test_a_watcher_is_told_to_read_again_after_an_outage(tmp_path: Path) -> None:
    async def outage() -> None:
        wakeups = Wakeups(f"unix://{tmp_path}/redis.sock")
        async with asyncio.timeout(TIMEOUT_S), aclosing(wakeups.listen()) as messages:
            for job_id in ("before", "after"):
                with redis_server(tmp_path):
                    assert await anext(messages) is None
                    wakeups.publish(job_id)
                    assert await anext(messages) == job_id
        wakeups.close()

    asyncio.run(outage())


def test_a_redis_that_is_away_does_not_fail_a_commit(
    database_url: str, store: Store, graph: LayerGraph, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wakeups = Wakeups(f"unix://{tmp_path}/nobody.sock")
    lonely = Store(database_url, wakeups=wakeups)
    job = create(lonely, graph)
    claim(lonely, job)
    assert read(store, job).attempt == 1
    assert "wakeup_lost" in caplog.text
    lonely.close()
