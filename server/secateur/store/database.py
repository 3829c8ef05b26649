"""Engines: SQLite and PostgreSQL behind the same code path."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url

_READ_ONLY: Final = "secateur_read_only"
_BUSY_TIMEOUT_S: Final = 30.0


def make_engine(database_url: str) -> Engine:
    """Returns an engine for a SQLite file or a PostgreSQL database; the folder of a SQLite file is created.

    On SQLite every transaction that may write takes the write lock when it begins (BEGIN IMMEDIATE). A row that has been
    read in it cannot change before the commit, as a row read FOR UPDATE cannot on PostgreSQL.
    """
    url = make_url(database_url)
    # NaN is not JSON: PostgreSQL would refuse it, so SQLite does too.
    serializer = partial(json.dumps, allow_nan=False)
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, json_serializer=serializer)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S}, json_serializer=serializer)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def read_only(engine: Engine) -> Engine:
    """Returns a view of the engine whose transactions see one unchanging moment and never wait for a writer."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_READ_ONLY: True})
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    connection.isolation_level = None  # the driver must not begin transactions by itself: `_begin_sqlite` does
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    # Connections are pooled: what the last transaction set must be set anew.
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
