"""Engines: SQLite and PostgreSQL behind the same code path."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import (
    ARRAY,
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Table,
    and_,
    bindparam,
    create_engine,
    event,
    false,
    func,
    insert,
    make_url,
    or_,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

_READ_ONLY: Final = "secateur_read_only"
_SQLITE_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
_POSTGRESQL_STANDBY: Final = "25006"
"""SQLSTATE of a write to a server that only reads, as after a fail-over. Full disks and shutdowns are OperationalError."""


@dataclass(frozen=True)
class Timeouts:
    """How long a database is waited for.

    Args:
        lock_seconds: For a row that another transaction holds; on SQLite for the one write lock. PostgreSQL ends a transaction
            in which nothing happens for half of that, as its process may be paused or cut off: those who wait for it get on.
        statement_seconds: For one statement. PostgreSQL only. 0 means for ever.
    """

    lock_seconds: float = 30.0
    statement_seconds: float = 60.0


def make_engine(database_url: str, timeouts: Timeouts = Timeouts()) -> Engine:
    """Returns an engine for a SQLite file or a PostgreSQL database; the folder of a SQLite file is created.

    On SQLite every transaction that may write takes the write lock when it begins (BEGIN IMMEDIATE). A row that has been
    read in it cannot change before the commit, as a row read FOR UPDATE cannot on PostgreSQL.

    Args:
        database_url: SQLAlchemy URL; `postgresql://` means psycopg.
        timeouts: How long the database is waited for.

    Raises:
        ValueError: If it is no URL, or names another kind of database. The message shows no password.
    """
    url = _parsed(database_url)
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _sqlite(url, timeouts)
        case "postgresql" | "postgresql+psycopg":
            return _postgresql(url, timeouts)
    raise ValueError(
        "The store runs on SQLite and on PostgreSQL; give a URL that begins with sqlite:/// or postgresql://. "
        f"Received: {url.render_as_string(hide_password=True)}"
    )


def _parsed(database_url: str) -> URL:
    # A part of the password could be taken for host, port or database, and be shown by an error about these.
    if not database_url.startswith("sqlite:") and database_url.count("@") > 1:
        raise ValueError("The database's URL has more than one @; write one of the password as %40, and : / ? # likewise")
    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "The database's URL cannot be parsed; give sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE, and write "
            "@ : / ? # of a password as %40 %3A %2F %3F %23"
        ) from None


def read_only(engine: Engine) -> Engine:
    """Returns a view of the engine whose transactions see one unchanging moment and never wait for a writer."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_READ_ONLY: True})
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


_NUMBERS: Final = func.unnest(bindparam("numbers", type_=ARRAY(BigInteger))).column_valued("number")
_LOCK_ALL: Final = select(func.pg_advisory_xact_lock(select(_NUMBERS).order_by(_NUMBERS).subquery().c.number))


def exclude_others(session: Session, *keys: str) -> None:
    """Waits until no other transaction holds one of the keys, and holds them until this one ends.

    This excludes others where there is no row to lock. On SQLite a transaction that may write excludes all others anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        numbers = (int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True) for key in keys)
        # In order, so that two who hold several never wait for each other.
        session.execute(_LOCK_ALL, {"numbers": sorted(set(numbers))})


def is_among(columns: Sequence[InstrumentedAttribute[Any]], rows: Iterable[Sequence[Any]]) -> ColumnElement[bool]:
    """Returns the condition that the columns hold one of the rows, so that both databases answer it from an index.

    SQLite reads the whole table for `(a, b) IN (VALUES ...)`. Hence equalities, and an IN of single values.

    Args:
        columns: Columns of a key, the one whose values differ most at the end.
        rows: Values of those columns; at most 500, as SQLite bounds how deep an expression may be (1,000).
    """
    last: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for *first, value in rows:
        last[tuple(first)].append(value)
    same = (
        and_(*(column == value for column, value in zip(columns, first, strict=False)), columns[-1].in_(values))
        for first, values in last.items()
    )
    return or_(false(), *same)


def add_rows(session: Session, kind: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds new rows to the table of a class, all with one statement.

    It goes to the table itself: going through the mapped class takes longer than the database does.
    """
    session.execute(insert(cast("Table", kind.__table__)), rows)


def is_passing(error: DBAPIError) -> bool:
    """Returns whether the same may succeed later, because a lock, the server or its disk was not available."""
    if isinstance(error.orig, sqlite3.Error):
        # Absent where the driver itself, not the database, has found the error.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSING
    if getattr(error.orig, "sqlstate", None) == _POSTGRESQL_STANDBY:
        return True
    return error.connection_invalidated or isinstance(error, OperationalError)


_NETWORK: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""In seconds, the last one in milliseconds. With these a server that was cut off is noticed: unlike one that is stopped, it
never says so itself."""

# NaN is not JSON: PostgreSQL would refuse it, so SQLite does too.
_to_json: Final = partial(json.dumps, allow_nan=False)


def _postgresql(url: URL, timeouts: Timeouts) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    limits = {
        "lock_timeout": timeouts.lock_seconds,
        "statement_timeout": timeouts.statement_seconds,
        "idle_in_transaction_session_timeout": timeouts.lock_seconds / 2,
    }
    options = " ".join(f"-c {name}={round(seconds * 1000)}" for name, seconds in limits.items())
    # Whoever opens transactions bounds them (the server by its threads): no second bound that could be lower.
    return create_engine(
        url,
        connect_args={"options": options, **_NETWORK},
        json_serializer=_to_json,
        pool_pre_ping=True,
        max_overflow=-1,
    )


def _sqlite(url: URL, timeouts: Timeouts) -> Engine:
    if url.database:
        # For the user alone whom server and workers run as: it holds digests of tokens, data sets and models.
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # No bound of its own, as on PostgreSQL.
    engine = create_engine(url, connect_args={"timeout": timeouts.lock_seconds}, json_serializer=_to_json, max_overflow=-1)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    connection.isolation_level = None  # the driver must not begin transactions by itself: `_begin_sqlite` does
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    # Connections are pooled: what the last transaction set must be set anew.
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
