"""A background loop: what has it go on, and what has it hurry."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
import structlog

from secateur.core.errors import Unavailable
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


def test_an_outage_is_one_line_of_the_log_and_a_defect_has_its_traceback() -> None:
    async def run(threads: Threads) -> None:
        errors = [Unavailable("DATABASE_UNAVAILABLE", "away"), RuntimeError("a defect")]
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def fail() -> None:
            if errors:
                raise errors.pop(0)
            loop.call_soon_threadsafe(done.set)

        running = asyncio.ensure_future(Periodic(fail, interval_seconds=0, threads=threads).run())
        await asyncio.wait_for(done.wait(), 10)
        running.cancel()

    with structlog.testing.capture_logs() as logs, closing(Threads(1)) as threads:
        asyncio.run(run(threads))
    assert [(line["log_level"], "exc_info" in line) for line in logs] == [("warning", False), ("error", True)]
    assert logs[0]["reason"] == "DATABASE_UNAVAILABLE"
