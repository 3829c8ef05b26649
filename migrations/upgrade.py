"""Brings a database to the newest schema: `python -m migrations.upgrade`, or `upgrade(url)`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from secateur.store.database import make_engine
from secateur.store.settings import Settings
from secateur.store.startup import StartError, check_reachable, starting


def upgrade(database_url: str, revision: str = "head") -> None:
    """Runs the migrations that the database lacks. Safe to call from several processes at once, and when there are none.

    Args:
        database_url: SQLAlchemy URL; a SQLite file is created.
        revision: Last migration to run.
    """
    with configured(database_url) as config:
        command.upgrade(config, revision)


def downgrade(database_url: str, revision: str) -> None:
    """Takes the migrations after `revision` back; "base" takes back all of them."""
    with configured(database_url) as config:
        command.downgrade(config, revision)


@contextmanager
def configured(database_url: str) -> Iterator[Config]:
    """Gives Alembic's configuration with a live connection to the database."""
    engine = make_engine(database_url)
    try:
        with engine.connect() as connection:
            config = Config(Path(__file__).with_name("alembic.ini"))
            config.attributes["connection"] = connection
            yield config
    finally:
        engine.dispose()


def main() -> None:
    """Migrates the database that the settings name."""
    with starting("migrations.upgrade"):
        settings = Settings()
        check_reachable(settings.database_url)
        try:
            upgrade(settings.database_url)
        except CommandError as error:
            raise StartError(f"The database is not one of this release, or of another program: {error}") from error


if __name__ == "__main__":
    main()
