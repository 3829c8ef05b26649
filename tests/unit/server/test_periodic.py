"""A background loop: what has it go on, and what has it hurry."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from secateur.server.periodic import Periodic
from secateur.server.threads import Threads


@pytest.mark.parametrize(("interval", "nudged"), [(0.0, False), (3600.0, True)])
def test_a_loop_that_fails_goes_on_when_its_time_comes_or_at_a_nudge(interval: float, nudged: bool) -> None:
    async def run(threads: Threads) -> None:
        loop, called = asyncio.get_running_loop(), asyncio.Queue[None]()

        def fail() -> None:
            loop.call_soon_threadsafe(called.put_nowait, None)
            raise RuntimeError("every time")

        periodic = Periodic(fail, interval_seconds=interval, threads=threads)
        running = asyncio.ensure_future(periodic.run())
        await asyncio.wait_for(called.get(), 10)
        for _ in range(2):
            if nudged:
                periodic.nudge()
            await asyncio.wait_for(called.get(), 10)
        started = loop.time()
        await asyncio.sleep(0.3)
        assert called.empty() is nudged  # one nudge, one call
        assert called.qsize() <= (loop.time() - started) * 20 + 1  # nor does it run hot
        running.cancel()

    with closing(Threads(1)) as threads:
        asyncio.run(run(threads))
