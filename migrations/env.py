"""Runs the migrations. Alembic executes this file; call `migrations.upgrade.upgrade` instead of importing it.

Several processes may start at once: PostgreSQL serialises them by an advisory lock and runs each migration in a transaction
of its own; SQLite runs all of them in one transaction that holds the write lock from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alembic import context
from sqlalchemy import Connection

from secateur.store.database import make_engine
from secateur.store.settings import Settings
from secateur.store.tables import Base

_ADVISORY_LOCK: Final = 0x5EC47E  # any number that nothing else in the database uses
_LOCK_TIMEOUT: Final = "4s"  # rather fail than queue up behind a long transaction and block everybody behind us
_STATEMENT_TIMEOUT: Final = "60s"


def _migrate(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    with _sqlite_ready(connection) if sqlite else _postgresql_ready(connection):
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_server_default=True,
            render_as_batch=sqlite,  # SQLite can alter a table only by building it anew
            transactional_ddl=True,
            transaction_per_migration=not sqlite,
        )
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def _postgresql_ready(connection: Connection) -> Iterator[None]:
    connection.exec_driver_sql("SET lock_timeout = 0")  # whoever migrates now may take long
    connection.exec_driver_sql("SET statement_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    connection.exec_driver_sql(f"SET statement_timeout = '{_STATEMENT_TIMEOUT}'")
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})")
        connection.exec_driver_sql("RESET lock_timeout")
        connection.exec_driver_sql("RESET statement_timeout")
        connection.commit()


@contextmanager
def _sqlite_ready(connection: Connection) -> Iterator[None]:
    # A table that is built anew is dropped in between, which must not count as deleting what refers to it. The setting has no
    # effect inside a transaction, and SQLAlchemy begins one before every statement: hence the driver's own connection.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
        broken = driver.execute("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise RuntimeError(f"After the migrations {len(broken)} rows refer to nothing, the first in table {broken[0][0]}")
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(connection)
        return
    engine = make_engine(Settings().database_url)
    try:
        with engine.connect() as connection:
            _migrate(connection)
    finally:
        engine.dispose()


_run()
