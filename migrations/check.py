"""Fails if the migrations and the tables in the code have drifted apart: `python -m migrations.check`.

That checks SQLite; the tests check PostgreSQL too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from migrations.upgrade import downgrade, upgrade
from secateur.store.database import make_engine
from secateur.store.tables import Base


def differences(database_url: str) -> list[Any]:
    """Returns what autogenerate would have to change so that the database has the tables of the code."""
    engine = make_engine(database_url)
    try:
        with engine.connect() as connection:
            options = {"compare_type": True, "compare_server_default": True}
            found = list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))
            return found + _other_orders(connection)
    finally:
        engine.dispose()


def _other_orders(connection: Connection) -> list[Any]:
    """Returns the columns whose text has another order than in the code: autogenerate does not look at collations."""
    inspector = inspect(connection)
    found = []
    for table in Base.metadata.sorted_tables:
        kept = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            wanted = getattr(column.type.dialect_impl(connection.dialect), "collation", None)
            if column.name in kept and getattr(kept[column.name], "collation", None) != wanted:
                found.append(("modify_collation", table.name, column.name, wanted))
    return found


def leftovers(database_url: str) -> list[str]:
    """Returns the tables that a database taken back to its base still has."""
    engine = make_engine(database_url)
    try:
        return [name for name in inspect(engine).get_table_names() if name != "alembic_version"]
    finally:
        engine.dispose()


def problems(database_url: str) -> list[str]:
    """Migrates an empty database up, down and up again and returns what went wrong, one line each."""
    upgrade(database_url)
    found = [f"The migrations do not make the tables of the code: {difference}" for difference in differences(database_url)]
    downgrade(database_url, "base")
    found += [f"Taking all migrations back leaves a table behind: {name}" for name in leftovers(database_url)]
    upgrade(database_url)
    return found + [f"A second upgrade comes out differently: {difference}" for difference in differences(database_url)]


def main() -> int:
    """Checks the migrations on a temporary SQLite file and returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        found = problems(f"sqlite:///{Path(folder) / 'check.db'}")
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
