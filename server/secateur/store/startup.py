"""What must hold before a process of ours starts, and how it says that something does not: in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from sqlalchemy import inspect, make_url
from sqlalchemy.exc import OperationalError

from secateur.core.errors import SecateurError
from secateur.store.database import make_engine
from secateur.store.tables import Base


class StartError(Exception):
    """The process cannot start; the message says what to do."""


@contextmanager
def starting(program: str) -> Iterator[None]:
    """Ends the process with one line on standard error, and status 1, where an operator has something to put right.

    Args:
        program: What the operator has called.
    """
    try:
        yield
    except (StartError, SecateurError, ValidationError) as error:
        sys.exit(f"{program}: {error}")


def check_migrated(database_url: str) -> None:
    """Refuses a database that cannot be reached or lacks our tables.

    Raises:
        StartError: Naming the database and what to do.
    """
    try:
        engine = make_engine(database_url)
    except ValueError as error:
        raise StartError(str(error)) from error
    try:
        with engine.connect() as connection:
            found = set(inspect(connection).get_table_names())
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        raise StartError(f"The database cannot be reached: {reason}") from error
    finally:
        engine.dispose()
    missing = {*Base.metadata.tables, "alembic_version"} - found
    if missing:
        raise StartError(
            f"The database lacks the tables {', '.join(sorted(missing))}; run `python -m migrations.upgrade` first. "
            f"Received: {make_url(database_url).render_as_string(hide_password=True)}"
        )
