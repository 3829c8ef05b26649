"""Functions in threads, and blocking iterators, drawn from there."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing

import pytest

from secateur.server.threads import DRAWN_AT_ONCE, OWNER, Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2)
    yield threads
    threads.close()


async def drawn(items: AsyncIterator[int]) -> list[int]:
    return [item async for item in items]


def test_every_item_comes_in_order(threads: Threads) -> None:
    for count in (0, 1, DRAWN_AT_ONCE - 1, DRAWN_AT_ONCE, DRAWN_AT_ONCE + 1, 50):
        assert asyncio.run(drawn(threads.iterate(iter(range(count))))) == list(range(count))


def test_the_next_items_are_drawn_while_some_are_worked_on_and_no_more(threads: Threads) -> None:
    asked: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(9 * DRAWN_AT_ONCE):
            asked.append(number)
            if number == 2 * DRAWN_AT_ONCE - 1:
                second.set()
            yield number

    async def first() -> int:
        async with aclosing(threads.iterate(items())) as found:
            item = await anext(found)
            assert await asyncio.to_thread(second.wait, 60)
            return item

    assert asyncio.run(first()) == 0
    assert asked == list(range(2 * DRAWN_AT_ONCE))


def test_a_failure_comes_after_the_items_that_were_drawn_before(threads: Threads) -> None:
    def items() -> Iterator[int]:
        yield from range(DRAWN_AT_ONCE)
        raise OSError("the disk is gone")

    async def run() -> list[int]:
        async with aclosing(threads.iterate(items())) as found:
            drawn = [await anext(found) for _ in range(DRAWN_AT_ONCE)]
            with pytest.raises(OSError, match="the disk is gone"):
                await anext(found)
        return drawn

    assert asyncio.run(run()) == list(range(DRAWN_AT_ONCE))


def test_who_stops_early_lets_go_of_the_iterator_once_no_thread_draws_from_it(threads: Threads) -> None:
    drawing, go_on, closed = threading.Event(), threading.Event(), []

    def items() -> Generator[int, None, None]:
        try:
            yield from range(DRAWN_AT_ONCE)
            drawing.set()
            go_on.wait(60)
            yield DRAWN_AT_ONCE
        finally:
            closed.append(go_on.is_set())

    async def run() -> None:
        source = items()
        async with aclosing(threads.iterate(source)) as found:
            await anext(found)
            await asyncio.to_thread(drawing.wait, 60)
            threading.Timer(0.2, go_on.set).start()
        source.close()  # would raise if a thread were still in it

    asyncio.run(run())
    assert closed == [True]


def test_who_is_cancelled_while_a_thread_draws_lets_go_of_the_iterator_after_it(threads: Threads) -> None:
    drawing, go_on = threading.Event(), threading.Event()

    def items() -> Generator[int, None, None]:
        drawing.set()
        go_on.wait(60)
        yield 0

    async def run() -> None:
        source = items()
        task = asyncio.create_task(drawn(threads.iterate(source)))
        await asyncio.to_thread(drawing.wait, 60)
        threading.Timer(0.2, go_on.set).start()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        source.close()  # would raise if a thread were still in it

    asyncio.run(run())


def test_a_failure_that_nobody_waits_for_leaves_nothing_in_the_log(threads: Threads, caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Iterator[int]:
        yield from range(DRAWN_AT_ONCE)
        raise OSError("the disk is gone")

    async def run() -> None:
        async with aclosing(threads.iterate(items())) as found:
            await anext(found)

    asyncio.run(run())
    gc.collect()
    assert caplog.text == ""


def test_closing_waits_for_what_runs(threads: Threads) -> None:
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        time.sleep(0.2)
        done.set()

    async def run() -> None:
        task = asyncio.create_task(threads.run(work))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()

    asyncio.run(run())
    threads.close()
    assert done.is_set()


@pytest.mark.parametrize(("size", "owner", "at_once"), [(8, "", 8), (8, "greedy", 6), (1, "greedy", 1)])
def test_what_is_nobodys_may_take_every_thread_and_what_is_somebodys_three_quarters(
    size: int, owner: str, at_once: int
) -> None:
    together = threading.Barrier(at_once)

    async def run() -> None:
        OWNER.set(owner)
        with closing(Threads(size)) as threads:
            async with asyncio.timeout(30):
                await asyncio.gather(*(threads.run(together.wait, 30) for _ in range(at_once)))
                assert await threads.run(OWNER.get) == owner  # as is the rest of the caller's context

    asyncio.run(run())


def test_one_owner_leaves_threads_to_others_even_if_it_does_not_wait_for_what_it_asks_for(threads: Threads) -> None:
    go_on = threading.Event()

    async def run() -> None:
        OWNER.set("greedy")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(threads.run(go_on.wait, 120), 0.1)
        OWNER.set("other")
        try:
            assert await asyncio.wait_for(threads.run(lambda: "done"), 60) == "done"
        finally:
            go_on.set()
        OWNER.set("greedy")
        assert await asyncio.wait_for(threads.run(lambda: "done"), 60) == "done"

    asyncio.run(run())
