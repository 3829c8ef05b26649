"""What a feed keeps of the events of a job, who reads them, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from secateur.core.jobs import JobState
from secateur.server.jobs import feeds as feeds_module
from secateur.server.jobs.feeds import KEPT, Feed, Feeds
from secateur.server.jobs.watch import WatchJob, watch_job
from secateur.server.threads import Threads
from secateur.server.watchers import Watchers
from secateur.store import Store
from secateur.store.database import make_engine
from secateur.store.ledger import JobLedger
from secateur.store.records import EventRecord, JobRecord
from secateur.store.wakeups import Wakeups
from tests.support.memory import kept_by
from tests.support.store import PROJECT, a_graph, claim, create, store_with_network

SECONDS = 60.0


def events(first: int, last: int) -> tuple[EventRecord, ...]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return tuple(EventRecord("job", number, now, JobState.RUNNING, None, 1, "", None) for number in range(first, last + 1))


def test_a_feed_keeps_the_newest_events_and_says_from_where() -> None:
    feed = Feed(base=10)
    feed.add(events(11, 20), ended=False)
    assert (feed.base, feed.last) == (10, 20)
    assert [event.sequence for event in feed.after(18)] == [19, 20]
    assert feed.after(25) == []

    feed.add(events(21, 20 + KEPT), ended=True)

    assert (feed.base, feed.last, feed.ended) == (20, 20 + KEPT, True)
    assert [event.sequence for event in feed.after(20)] == list(range(21, 21 + KEPT))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('feeds')}/secateur.db"


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[Store]:
    with store_with_network(url) as store:
        yield store


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has feeds look by themselves sooner than they do."""
    monkeypatch.setattr(feeds_module, "FALLBACK_SECONDS", 0.1)


@contextmanager
def feeds_of(store: Store, *, most: int = 9) -> Iterator[Feeds]:
    """Gives the feeds of a server that hears no wake-ups."""
    with closing(Wakeups("redis://127.0.0.1:1")) as wakeups, closing(Threads(2)) as threads:
        yield Feeds(store=store, watchers=Watchers(wakeups), threads=threads, most=most)


async def joined(feeds: Feeds, job: JobRecord, after: int) -> tuple[AsyncGenerator[EventRecord, None], Task[EventRecord]]:
    """Returns a watch that waits for its next event, and that event to be."""
    opened = asyncio.Event()

    async def open_it() -> None:
        opened.set()

    watch = watch_job(WatchJob(PROJECT, job.id, after), feeds=feeds, on_open=open_it)
    waiting = asyncio.create_task(first_of(watch))
    await opened.wait()
    return watch, waiting


async def first_of(watch: AsyncGenerator[EventRecord, None]) -> EventRecord:
    return await anext(watch)


def test_who_comes_after_a_feed_has_failed_is_not_told_so_though_somebody_has_not_left_it(store: Store, url: str) -> None:
    engine = make_engine(url)

    def rename(old: str, new: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    async def run(feeds: Feeds) -> None:
        job = create(store, a_graph(), seed=0)
        idle = watch_job(WatchJob(PROJECT, job.id, 0), feeds=feeds)
        assert (await anext(idle)).sequence == 1  # and it asks for no more
        _, waiting = await joined(feeds, job, 1)
        rename("job_events", "away")
        with pytest.raises(RuntimeError, match="could not be read"):
            await asyncio.wait_for(waiting, SECONDS)
        rename("away", "job_events")

        held = claim(store, job)
        later = watch_job(WatchJob(PROJECT, job.id, 1), feeds=feeds)
        assert (await asyncio.wait_for(anext(later), SECONDS)).sequence == 2
        with pytest.raises(RuntimeError, match="could not be read"):
            await asyncio.wait_for(anext(idle), SECONDS)
        JobLedger(store).finish(held, JobState.FAILED)
        assert [event.sequence async for event in later] == [3]

    with feeds_of(store) as feeds:
        asyncio.run(run(feeds))
    engine.dispose()


def test_who_leaves_takes_nothing_from_the_others_and_the_last_ends_the_reading(store: Store) -> None:
    async def run(feeds: Feeds) -> None:
        job = create(store, a_graph(), seed=1)
        _, leaving = await joined(feeds, job, 1)
        watch, waiting = await joined(feeds, job, 1)
        leaving.cancel()
        await asyncio.wait({leaving})
        claim(store, job)
        assert (await asyncio.wait_for(waiting, SECONDS)).sequence == 2

        await watch.aclose()
        left = asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        await asyncio.wait_for(left, SECONDS)

    with feeds_of(store) as feeds:
        asyncio.run(run(feeds))


def test_who_is_further_behind_than_a_feed_goes_back_reads_for_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "BATCH", 3)
    monkeypatch.setattr(feeds_module, "KEPT", 4)

    async def run(feeds: Feeds) -> None:
        job, ledger = create(store, a_graph(), seed=2), JobLedger(store)
        held = claim(store, job)
        for number in range(8):
            ledger.report(held, message=str(number))
        idle = watch_job(WatchJob(PROJECT, job.id, 0), feeds=feeds)
        first = await anext(idle)
        for number in range(8):
            ledger.report(held, message=str(number))
        ledger.finish(held, JobState.FAILED)
        async with asyncio.timeout(SECONDS):
            for after in (0, 5):
                watch = watch_job(WatchJob(PROJECT, job.id, after), feeds=feeds)
                assert [event.sequence async for event in watch] == list(range(after + 1, 20))
            assert [first.sequence, *[event.sequence async for event in idle]] == list(range(1, 20))

    with feeds_of(store) as feeds:
        asyncio.run(run(feeds))


def test_a_server_with_one_watch_gives_it_to_any_project_and_keeps_none_in_mind(store: Store) -> None:
    with feeds_of(store, most=1) as feeds:
        assert kept_by(feeds.admission) < 50_000
