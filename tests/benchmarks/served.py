"""A server of ours and a bare one for benchmarks, each a process of its own, and what keeps them busy."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from migrations.upgrade import upgrade
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.wakeups import Wakeups
from tests.support.server import Api
from tests.support.stack import ROOT, Stack, free_port

ROUNDS: Final = 5
"""How often what is compared takes its turn."""

IN_FLIGHT: Final = 32
"""Calls that are kept going at once."""


class Service:
    """A server of ours and a bare one, each in its own process, and a store to fill.

    Args:
        folder: Where everything is.
        database_url: The database; None for SQLite in the folder.
    """

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.stack = Stack(folder, **({"database_url": database_url} if database_url else {}))
        self.database_url = database_url or self.stack.settings.database_url
        upgrade(self.database_url)
        self.bare_address = f"127.0.0.1:{free_port()}"
        port = self.bare_address.rpartition(":")[2]
        self._bare = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.bare_server", port], cwd=ROOT)
        self.stack.start("redis", "server")
        self.stack.wait_for_server()
        self._wakeups = Wakeups(self.stack.settings.redis_url)
        self.store = Store(self.database_url, wakeups=self._wakeups)
        self.blobs = BlobStore(self.stack.settings.blob_url)

    def close(self) -> None:
        """Ends everything."""
        self.store.close()
        self._wakeups.close()
        self._bare.kill()
        self._bare.wait()
        self.stack.down()

    @contextmanager
    def api(self, project: str = "default") -> Iterator[Api]:
        """Gives blocking stubs."""
        with grpc.insecure_channel(self.stack.address) as channel:
            yield Api(channel, project)


@contextmanager
def service(database_url: str | None = None) -> Iterator[Service]:
    """Runs a service while the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        running = Service(Path(folder), database_url)
        try:
            yield running
        finally:
            running.close()


async def load(call: Callable[[], Awaitable[object]], seconds: float) -> tuple[float, float]:
    """Keeps calls in flight and returns how many ended a second, and the 99th percentile of their times in seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def loop() -> None:
        while (begun := time.perf_counter()) < end:
            await call()
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(IN_FLIGHT)))
    return len(times) / (time.perf_counter() - begun), statistics.quantiles(times, n=100)[98]
