"""A bounded pool of threads for handlers: the store is synchronous, the event loop must not wait for it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

DRAWN_AT_ONCE: Final = 4
"""Items that a thread draws from a blocking iterator at once: handing over to a thread takes as long as reading a chunk."""

OWNER: Final[ContextVar[str]] = ContextVar("owner", default="")
"""On whose behalf a thread is asked for; empty for nobody in particular, such as for a batch of many calls."""

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs synchronous functions off the event loop.

    One owner has at most three quarters of the threads, so that all others still get on, however much it asks for.

    Args:
        size: Most functions that run at once; further ones queue.
    """

    def __init__(self, size: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix="handler")
        self._share = max(1, size * 3 // 4)
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` in a thread, with the log context of the caller, and returns what it returns."""
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        owner = OWNER.get()
        if not owner:
            return await asyncio.wrap_future(self._executor.submit(call))
        loop, share = asyncio.get_running_loop(), self._shares.setdefault(owner, asyncio.Semaphore(self._share))

        def give_back(_: Future[T]) -> None:
            loop.call_soon_threadsafe(share.release)

        await share.acquire()
        running = self._executor.submit(call)
        # Only then, and not when the call is cancelled: its thread goes on.
        running.add_done_callback(give_back)
        return await asyncio.wrap_future(running)

    async def iterate(self, items: Iterator[T]) -> AsyncGenerator[T, None]:
        """Draws the items of a blocking iterator in a thread, `DRAWN_AT_ONCE`, while those drawn before are worked on."""
        ahead = asyncio.ensure_future(self.run(_draw, items))
        try:
            while True:
                await asyncio.wait({ahead})
                drawn = ahead.result()
                if not drawn:
                    return
                ahead = asyncio.ensure_future(self.run(_draw, items))
                for item in drawn:
                    yield item
        finally:
            # Nobody may let go of the iterator while a thread draws from it.
            await asyncio.wait({ahead})
            ahead.exception()

    def close(self) -> None:
        """Waits for running functions and frees the threads."""
        self._executor.shutdown()


def _draw(items: Iterator[T]) -> list[T]:
    # A StopIteration cannot pass through a future, so the end is an empty list.
    return list(itertools.islice(items, DRAWN_AT_ONCE))
