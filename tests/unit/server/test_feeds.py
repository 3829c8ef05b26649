"""What a feed keeps of the events of a job, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from migrations.upgrade import upgrade
from secateur.core.cost import cost_of
from secateur.core.jobs import JobState
from secateur.server.jobs.feeds import KEPT, Feed, Feeds
from secateur.server.jobs.watch import WatchJob, watch_job
from secateur.server.threads import Threads
from secateur.server.watchers import Watchers
from secateur.store import Store
from secateur.store.database import make_engine
from secateur.store.ledger import JobLedger
from secateur.store.records import EventRecord
from secateur.store.wakeups import Wakeups
from tests.support.store import PROJECT, a_graph, claim, create


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


def test_who_comes_after_a_feed_has_failed_is_not_told_so_though_somebody_has_not_left_it(tmp_path: Path) -> None:
    url, graph = f"sqlite:///{tmp_path}/secateur.db", a_graph()
    upgrade(url)
    engine = make_engine(url)

    def rename(old: str, new: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    async def run(store: Store, feeds: Feeds) -> None:
        job = create(store, graph)
        idle = watch_job(WatchJob(PROJECT, job.id, 0), feeds=feeds)
        assert (await anext(idle)).sequence == 1  # and it asks for no more
        waiting = asyncio.ensure_future(anext(watch_job(WatchJob(PROJECT, job.id, 1), feeds=feeds)))
        await asyncio.sleep(0.5)  # it has joined
        rename("job_events", "away")
        with pytest.raises(RuntimeError, match="could not be read"):
            await asyncio.wait_for(waiting, 60)
        rename("away", "job_events")

        held = claim(store, job)
        later = watch_job(WatchJob(PROJECT, job.id, 1), feeds=feeds)
        assert (await asyncio.wait_for(anext(later), 60)).sequence == 2
        await idle.aclose()
        JobLedger(store).finish(held, JobState.FAILED)
        assert [event.sequence async for event in later] == [3]

    with closing(Store(url)) as store, closing(Wakeups("redis://127.0.0.1:1")) as wakeups, closing(Threads(2)) as threads:
        with store.unit_of_work() as work:
            work.architectures.put(PROJECT, graph, cost_of(graph), display_name="")
            work.commit()
        asyncio.run(run(store, Feeds(store=store, watchers=Watchers(wakeups), threads=threads, most=9)))
    engine.dispose()
