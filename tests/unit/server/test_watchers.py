"""Bells of jobs: who hears what, and what is left of those that nobody listens to any more."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from secateur.core.errors import Unavailable
from secateur.server.watchers import Watchers
from secateur.store.wakeups import Wakeups
from tests.support.memory import kept_by
from tests.support.store import redis_server

SECONDS = 60.0
NOWHERE = "redis://127.0.0.1:1"


def test_who_goes_takes_no_bell_but_their_own(tmp_path: Path) -> None:
    async def run(wakeups: Wakeups) -> None:
        watchers = Watchers(wakeups)
        with watchers.subscribe("job") as bell:
            with watchers.subscribe("job"):
                pass
            listening = asyncio.create_task(watchers.run())
            started = asyncio.get_running_loop().time()
            for _ in range(2):  # first because the subscription has begun
                await bell.wait(SECONDS)
                bell.clear()
                await asyncio.to_thread(wakeups.publish, "job")
            assert asyncio.get_running_loop().time() - started < SECONDS
            listening.cancel()

    with redis_server(tmp_path) as url, closing(Wakeups(url)) as wakeups:
        asyncio.run(run(wakeups))


def test_a_stop_ends_every_wait_at_once_also_of_who_has_just_looked() -> None:
    async def run(wakeups: Wakeups) -> None:
        watchers = Watchers(wakeups)
        with watchers.subscribe("job") as waits, watchers.subscribe("other") as looks:
            waiting = asyncio.create_task(waits.wait(2 * SECONDS))
            await asyncio.sleep(0)
            watchers.stop()
            looks.clear()
            async with asyncio.timeout(SECONDS):
                for wait in (waiting, looks.wait(2 * SECONDS)):
                    with pytest.raises(Unavailable):
                        await wait

    with closing(Wakeups(NOWHERE)) as wakeups:
        asyncio.run(run(wakeups))


def test_nothing_is_left_of_a_job_that_nobody_watches() -> None:
    async def run(wakeups: Wakeups) -> int:
        return kept_by(Watchers(wakeups).subscribe)

    with closing(Wakeups(NOWHERE)) as wakeups:
        assert asyncio.run(run(wakeups)) < 50_000
