"""Calls that are done together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from threading import Event

import pytest

from secateur.core.errors import NotFound, SecateurError, Unavailable
from secateur.server.batches import Batches
from secateur.server.threads import Threads

TIMEOUT_S = 10.0


class Work:
    """Doubles numbers; the first batch waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go_on = Event(), Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | SecateurError]:
        self.batches.append(list(numbers))
        self.begun.set()
        assert self.go_on.wait(TIMEOUT_S)
        if 13 in numbers:
            raise ZeroDivisionError
        if 14 in numbers:
            raise Unavailable("DATABASE_UNAVAILABLE", "gone")
        return [NotFound("ODD", "odd") if number % 2 else 2 * number for number in numbers]


@asynccontextmanager
async def batches(work: Work, most: int = 64) -> AsyncIterator[Batches[int, int]]:
    with closing(Threads(2)) as threads:
        async with asyncio.timeout(TIMEOUT_S):
            yield Batches(work, threads, most=most)


async def asked(batched: Batches[int, int], work: Work, *numbers: int) -> list[int | BaseException]:
    """Asks for 0, and for the numbers while that is being done."""
    first = asyncio.create_task(batched(0))
    await asyncio.to_thread(work.begun.wait, TIMEOUT_S)
    others = [asyncio.create_task(batched(number)) for number in numbers]
    await asyncio.sleep(0.05)
    assert work.batches == [[0]]  # one after the other
    work.go_on.set()
    assert await first == 0
    return await asyncio.gather(*others, return_exceptions=True)


def test_who_comes_during_a_batch_is_in_the_next() -> None:
    async def scenario() -> None:
        work = Work()
        async with batches(work, most=3) as batched:
            assert await asked(batched, work, 2, 4, 6, 8) == [4, 8, 12, 16]
            assert await batched(10) == 20
        assert work.batches == [[0], [2, 4, 6], [8], [10]]

    asyncio.run(scenario())


def test_one_that_is_refused_is_refused_alone() -> None:
    async def scenario() -> None:
        work = Work()
        async with batches(work) as batched:
            first, second, third = await asked(batched, work, 2, 3, 4)
            with pytest.raises(NotFound):
                await batched(5)
        assert (first, third) == (4, 8)
        assert isinstance(second, NotFound)

    asyncio.run(scenario())


def test_a_defect_that_one_meets_does_not_reach_the_others() -> None:
    async def scenario() -> None:
        work = Work()
        async with batches(work) as batched:
            first, second = await asked(batched, work, 2, 13)
            assert first == 4
            assert await batched(6) == 12
        assert isinstance(second, ZeroDivisionError)

    asyncio.run(scenario())


def test_what_keeps_a_batch_from_being_done_is_told_to_all_of_it() -> None:
    async def scenario() -> None:
        work = Work()
        async with batches(work) as batched:
            one, other = await asked(batched, work, 2, 14)
        for each in (one, other):
            assert isinstance(each, Unavailable)
            assert (each.reason, str(each)) == ("DATABASE_UNAVAILABLE", "gone")
        assert one is not other  # each is raised in a call of its own
        assert work.batches == [[0], [2, 14]]

    asyncio.run(scenario())


def test_who_went_away_before_the_batch_began_is_left_out() -> None:
    async def scenario() -> None:
        work = Work()
        async with batches(work) as batched:
            first = asyncio.create_task(batched(0))
            await asyncio.to_thread(work.begun.wait, TIMEOUT_S)
            gone, there = asyncio.create_task(batched(2)), asyncio.create_task(batched(4))
            await asyncio.sleep(0)
            gone.cancel()
            first.cancel()  # its batch has begun
            work.go_on.set()
            assert await there == 8
            with pytest.raises(asyncio.CancelledError):
                await first
        assert work.batches == [[0], [4]]

    asyncio.run(scenario())
