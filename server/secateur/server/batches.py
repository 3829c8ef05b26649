"""Calls that come at the same time are done together: what costs a transaction is paid once for all of them."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from secateur.core.errors import SecateurError
from secateur.server.threads import Threads

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """Does what is asked, one batch after the other. No batch waits to fill: it holds what was asked for during the last one.

    Args:
        work: Does a batch, all of it or nothing, and returns for each of it the answer or why it is refused.
        threads: Where it runs.
        most: Largest batch.
    """

    def __init__(self, work: Callable[[Sequence[Q]], Sequence[A | SecateurError]], threads: Threads, *, most: int) -> None:
        self._work: Final = work
        self._threads: Final = threads
        self._most: Final = most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, asked: Q) -> A:
        """Does what is asked. Once its batch has begun it is done even if the caller goes away.

        Raises:
            SecateurError: Why it is refused, or why the whole batch could not be done.
        """
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._worker is None:
            # In a context of its own: a batch is not the first caller's, neither in the log nor in the share of threads.
            self._worker = asyncio.create_task(self._run(), context=contextvars.Context())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if wanted := [(asked, answer) for asked, answer in batch if not answer.done()]:
                await self._do(wanted)
        self._worker = None

    async def _do(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        found: Sequence[A | Exception]
        try:
            found = await self._threads.run(self._work, [asked for asked, _ in batch])
        except SecateurError as error:
            found = [copy.copy(error) for _ in batch]
        except Exception as error:
            if len(batch) > 1:  # a defect that one of them meets is not the others' affair
                for pair in batch:
                    await self._do([pair])
                return
            found = [error]
        for (_, answer), each in zip(batch, found, strict=True):
            if answer.done():  # the caller has gone away
                continue
            if isinstance(each, Exception):
                answer.set_exception(each)
            else:
                answer.set_result(each)
