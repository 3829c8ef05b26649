"""A background loop that calls a function again and again and outlives its failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from secateur.core.errors import Unavailable
from secateur.server.threads import Threads

_LEAST_SECONDS: Final = 0.05
"""Least time between two calls: a hundred nudges a second lead to fewer calls, each with more to do."""

_log = structlog.stdlib.get_logger(__name__)


class Periodic:
    """Calls a synchronous function every so often, in a thread.

    Args:
        function: What to call. A failure is logged, and the function is called again when its time comes.
        interval_seconds: Time from the end of one call to the start of the next.
        threads: Where it runs.
    """

    def __init__(self, function: Callable[[], None], *, interval_seconds: float, threads: Threads) -> None:
        self._function = function
        self._interval = interval_seconds
        self._threads = threads
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Asks for the next call now."""
        self._nudged.set()

    async def run(self) -> None:
        """Calls the function until cancelled."""
        while True:
            self._nudged.clear()
            try:
                await self._threads.run(self._function)
            except Unavailable as outage:  # of database or blob store, which have logged its cause
                _log.warning("a background loop has to wait", function=self._function.__qualname__, reason=outage.reason)
            except Exception:
                _log.exception("a background loop failed", function=self._function.__qualname__)
            await asyncio.sleep(_LEAST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._nudged.wait()
