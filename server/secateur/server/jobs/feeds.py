"""New events of jobs, read once per job and server, however many watch it."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from secateur.core.errors import QuotaExceeded, SecateurError
from secateur.server.threads import Threads
from secateur.server.watchers import Watchers
from secateur.store import Store
from secateur.store.records import EventRecord, JobRecord

FALLBACK_SECONDS: Final = 2.0
"""How long to wait for a wake-up before reading anyway: wake-ups are lost while Redis is away."""

BATCH: Final = 200
"""Events that are read at once."""

KEPT: Final = 1_000
"""Events of a job that are kept for its watchers; one that is further behind reads for itself."""


class Feed:
    """The newest events of one job, while somebody watches it.

    Attributes:
        base: Sequence number of the event before the first that is kept.
        events: Those that are kept, without gap.
        ended: Whether there will be no more.
    """

    def __init__(self, base: int) -> None:
        self.base = base
        self.events: list[EventRecord] = []
        self.ended = False
        self._failure: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def last(self) -> int:
        """Sequence number of the newest event."""
        return self.base + len(self.events)

    def after(self, sequence: int) -> list[EventRecord]:
        """Returns the kept events behind a sequence number, which is not before `base`."""
        return self.events[sequence - self.base :]

    def add(self, events: tuple[EventRecord, ...], *, ended: bool) -> None:
        """Adds what was read, and wakes all watchers if that is anything new."""
        self.events.extend(events)
        surplus = len(self.events) - KEPT
        if surplus > 0:
            del self.events[:surplus]
            self.base += surplus
        self.ended = ended
        if events or ended:
            self._wake()

    def fail(self, failure: Exception) -> None:
        """Ends the wait of every watcher with an error."""
        self._failure = failure
        self._wake()

    async def change(self) -> None:
        """Waits until something was added since the caller last looked.

        Raises:
            SecateurError: If the events cannot be read.
        """
        if self._failure is None:
            await self._changed.wait()
        if isinstance(self._failure, SecateurError):
            raise copy.copy(self._failure)
        if self._failure is not None:
            raise RuntimeError("The events of a job could not be read") from self._failure

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(slots=True)
class _Joined:
    feed: Feed
    reader: asyncio.Task[None]
    watchers: int = 0


class Feeds:
    """The feeds of this server.

    Args:
        store: Where jobs are.
        watchers: Tells of changes.
        threads: Where the store is read.
        most: Most watches at one time, at most three quarters of them of one project.
    """

    def __init__(self, *, store: Store, watchers: Watchers, threads: Threads, most: int) -> None:
        self._store = store
        self._watchers = watchers
        self._threads = threads
        self._most = most
        self._share = max(1, most * 3 // 4)
        self._watches: Counter[str] = Counter()
        self._feeds: dict[str, _Joined] = {}

    @contextmanager
    def admission(self, project: str) -> Iterator[None]:
        """Counts a watch until the block ends.

        Args:
            project: Project of the job.

        Raises:
            QuotaExceeded: WATCH_LIMIT, if there are as many as there may be, of all projects or of this one.
        """
        if self._watches[project] >= self._share or self._watches.total() >= self._most:
            raise QuotaExceeded(
                "WATCH_LIMIT",
                f"This server takes at most {self._most} watches, {self._share} of one project, and has that many; try again "
                f"later or on another server. Received: one more for project {project}",
                metadata={"limit": str(self._most)},
            )
        self._watches[project] += 1
        try:
            yield
        finally:
            self._watches[project] -= 1
            if not self._watches[project]:
                del self._watches[project]

    async def read(self, project: str, job_id: str, after: int) -> tuple[JobRecord, tuple[EventRecord, ...]]:
        """Returns a job, and a batch of its events behind a sequence number.

        Raises:
            NotFound: JOB_NOT_FOUND.
        """
        return await self._threads.run(self._read, project, job_id, after)

    async def job(self, project: str, job_id: str) -> JobRecord:
        """Returns a job.

        Raises:
            NotFound: JOB_NOT_FOUND.
        """
        return await self._threads.run(self._job, project, job_id)

    @contextmanager
    def join(self, project: str, job_id: str, after: int) -> Iterator[Feed]:
        """Gives the feed of a job that exists until the block ends; the first to join has it read from `after` on."""
        if job_id not in self._feeds:
            feed = Feed(after)
            self._feeds[job_id] = _Joined(feed, asyncio.create_task(self._follow(project, job_id, feed)))
        joined = self._feeds[job_id]
        joined.watchers += 1
        try:
            yield joined.feed
        finally:
            joined.watchers -= 1
            if not joined.watchers:
                self._forget(job_id, joined.feed)
                joined.reader.cancel()

    async def _follow(self, project: str, job_id: str, feed: Feed) -> None:
        try:
            # Subscribes first, then reads, then waits: whatever happens after the reading rings the bell.
            with self._watchers.subscribe(job_id) as bell:
                while not feed.ended:
                    bell.clear()
                    job, events = await self.read(project, job_id, feed.last)
                    last = events[-1].sequence if events else feed.last
                    feed.add(events, ended=job.state.is_terminal and last >= job.last_sequence)
                    if last >= job.last_sequence and not feed.ended:
                        await bell.wait(FALLBACK_SECONDS)
        except Exception as error:
            self._forget(job_id, feed)  # who joins from now on gets another one: this may be kept by somebody who does not read
            feed.fail(error)

    def _forget(self, job_id: str, feed: Feed) -> None:
        joined = self._feeds.get(job_id)
        if joined is not None and joined.feed is feed:
            del self._feeds[job_id]

    def _job(self, project: str, job_id: str) -> JobRecord:
        with self._store.snapshot() as work:
            return work.trash.mark(work.jobs.get(project, job_id))

    def _read(self, project: str, job_id: str, after: int) -> tuple[JobRecord, tuple[EventRecord, ...]]:
        with self._store.snapshot() as work:
            # The job first: if it has ended by then, the events that are read next are all that there will ever be.
            job = work.jobs.get(project, job_id)
            return job, work.jobs.events_after(job_id, after, BATCH)
