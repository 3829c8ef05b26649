"""Watches a job: its events in order, none left out and none twice, until it has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from secateur.server.threads import Threads
from secateur.server.watchers import Watchers
from secateur.store import Store
from secateur.store.records import EventRecord, JobRecord

_FALLBACK_SECONDS: Final = 2.0
"""How long to wait for a wake-up before reading anyway: wake-ups are lost while Redis is away."""

_BATCH: Final = 200
"""Events that are read at once."""


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


async def watch_job(
    query: WatchJob, *, store: Store, watchers: Watchers, threads: Threads
) -> AsyncGenerator[EventRecord, None]:
    """Yields every event after the given one and ends with the job.

    Subscribes first, then reads, then waits: whatever happens after the reading rings the bell.

    Raises:
        NotFound: JOB_NOT_FOUND.
        Unavailable: SERVER_STOPPING.
    """
    seen = query.after_sequence
    with watchers.subscribe(query.job) as bell:
        while True:
            bell.clear()
            job, events = await threads.run(_read, store, query, seen)
            for event in events:
                yield event
                seen = event.sequence
            if seen < job.last_sequence:
                continue
            if job.state.is_terminal:
                return
            await bell.wait(_FALLBACK_SECONDS)


def _read(store: Store, query: WatchJob, seen: int) -> tuple[JobRecord, tuple[EventRecord, ...]]:
    with store.snapshot() as work:
        # The job first: if it has ended by then, the events that are read next are all that there will ever be.
        job = work.jobs.get(query.project, query.job)
        return job, tuple(work.jobs.events_after(query.job, seen, _BATCH))
