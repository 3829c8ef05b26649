"""Watchers of jobs in this process: one Redis subscription rings the bell of whoever waits for the job."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress

from secateur.core.errors import Unavailable
from secateur.store.wakeups import Wakeups


class Bell:
    """Rung when something happened to a job. Clear it, read the rows, then wait: nothing is missed."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._rung = asyncio.Event()
        self._stopping = stopping

    def ring(self) -> None:
        """Wakes whoever waits."""
        self._rung.set()

    def clear(self) -> None:
        """Forgets earlier rings; what is read afterwards is at least as new as they were."""
        self._rung.clear()

    async def wait(self, timeout_seconds: float) -> None:
        """Waits for a ring, but no longer than the timeout: rings may be lost while Redis is away.

        Raises:
            Unavailable: SERVER_STOPPING, so that the client resumes on another server.
        """
        if not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._rung.wait()
        if self._stopping.is_set():
            raise Unavailable("SERVER_STOPPING", "The server is stopping; watch again from the last sequence number you have")


class Watchers:
    """The bells of this process.

    Args:
        wakeups: Where wake-ups come from.
    """

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)
        self._stopping = asyncio.Event()

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Bell]:
        """Gives a bell that rings for the job until the block ends."""
        bell = Bell(self._stopping)
        self._bells[job_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[job_id].discard(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]

    async def run(self) -> None:
        """Rings bells as wake-ups arrive, until cancelled."""
        async with aclosing(self._wakeups.listen()) as wakeups:
            async for job_id in wakeups:
                if job_id is None:  # subscribed anew: whatever happened before was not heard
                    self._ring(*self._bells)
                else:
                    self._ring(job_id)

    def stop(self) -> None:
        """Ends every wait, now and later, with `Unavailable`."""
        self._stopping.set()
        self._ring(*self._bells)

    def _ring(self, *job_ids: str) -> None:
        for job_id in job_ids:
            for bell in self._bells.get(job_id, ()):
                bell.ring()
