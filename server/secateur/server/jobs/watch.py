"""Watches a job: its events in order, none left out and none twice, until it has ended; or only waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

from secateur.server.jobs.feeds import Feeds
from secateur.store.records import EventRecord, JobRecord

MAX_WAIT_SECONDS: Final = 600.0
"""Longest that one call waits for the end of a job."""


@dataclass(frozen=True, slots=True)
class WatchJob:
    """Which events are asked for.

    Args:
        project: Project of the job.
        job: Id of the job.
        after_sequence: Sequence number of the last event already seen; 0 for all.
    """

    project: str
    job: str
    after_sequence: int


async def _nothing() -> None:
    pass


async def watch_job(
    query: WatchJob, *, feeds: Feeds, on_open: Callable[[], Awaitable[None]] = _nothing
) -> AsyncGenerator[EventRecord, None]:
    """Yields every event after the given one and ends with the job.

    What happened so far each watcher reads for itself; what is new, one reads for all.

    Args:
        query: Which events.
        feeds: New events of jobs.
        on_open: Called once the job has been read, which may be long before there is an event.

    Raises:
        NotFound: JOB_NOT_FOUND.
        QuotaExceeded: WATCH_LIMIT.
        Unavailable: SERVER_STOPPING or DATABASE_UNAVAILABLE.
    """
    seen = query.after_sequence
    with feeds.admission(query.project):
        job, events = await feeds.read(query.project, query.job, seen)
        await on_open()
        with feeds.join(query.project, query.job, job.last_sequence) as feed:
            while True:
                for event in events:
                    yield event
                    seen = event.sequence
                if seen < feed.base:  # further behind than the feed goes back
                    _, events = await feeds.read(query.project, query.job, seen)
                    continue
                events = tuple(feed.after(seen))
                if not events:
                    if feed.ended:
                        return
                    await feed.change()


async def wait_job(project: str, job_id: str, seconds: float, *, feeds: Feeds) -> JobRecord:
    """Returns a job once it has ended, or as it is after so many seconds, at most `MAX_WAIT_SECONDS`.

    Raises as `watch_job` does.
    """
    job = await feeds.job(project, job_id)
    if job.state.is_terminal:
        return job
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(min(seconds, MAX_WAIT_SECONDS)),
            aclosing(watch_job(WatchJob(project, job_id, job.last_sequence), feeds=feeds)) as events,
        ):
            async for _ in events:
                pass
    return await feeds.job(project, job_id)
