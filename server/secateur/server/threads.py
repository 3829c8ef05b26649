"""A bounded pool of threads for handlers: the store is synchronous, the event loop must not wait for it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

DRAWN_AT_ONCE: Final = 4
"""Items of a blocking iterator that a thread draws at once: to hand over to a thread takes as long as to read a chunk."""

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs synchronous functions off the event loop.

    Args:
        size: Most functions that run at once; further ones queue.
    """

    def __init__(self, size: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix="handler")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` in a thread, with the log context of the caller, and returns what it returns."""
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

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
