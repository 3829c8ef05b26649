"""What must hold before anything of the control plane starts."""

from __future__ import annotations

from sqlalchemy import inspect, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from secateur.store.database import make_engine
from secateur.store.tables import Base


class StartError(Exception):
    """The process cannot start; the message says what to do."""


def check_migrated(database_url: str) -> None:
    """Refuses a database that cannot be reached or lacks our tables.

    Raises:
        StartError: Naming the database and what to do.
    """
    try:
        engine = make_engine(database_url)
    except (ValueError, ArgumentError) as error:
        raise StartError(str(error)) from error
    try:
        with engine.connect() as connection:
            found = set(inspect(connection).get_table_names())
    except OperationalError as error:
        raise StartError(f"The database cannot be reached: {str(error.orig).strip()}") from error
    finally:
        engine.dispose()
    missing = {*Base.metadata.tables, "alembic_version"} - found
    if missing:
        raise StartError(
            f"The database lacks the tables {', '.join(sorted(missing))}; run `python -m migrations.upgrade` first. "
            f"Received: {make_url(database_url).render_as_string(hide_password=True)}"
        )
