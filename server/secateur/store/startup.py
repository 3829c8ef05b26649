"""What must hold before a process of ours starts, and how it says that something does not: in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Connection, inspect, make_url
from sqlalchemy.exc import DBAPIError

from secateur.core.errors import SecateurError
from secateur.store.database import is_passing, make_engine
from secateur.store.files import FileSystem
from secateur.store.tables import Base


class StartError(Exception):
    """The process cannot start; the message says what to do."""


@contextmanager
def starting(program: str) -> Iterator[None]:
    """Turns what an operator can put right into one line on standard error and exit status 1.

    Args:
        program: Name of the program that the operator called.
    """
    try:
        yield
    except (StartError, SecateurError) as error:
        problem = str(error)
    except ValidationError as error:
        problem = _problems(error)
    except DBAPIError as error:
        if not is_passing(error):
            raise
        problem = f"The database did not answer in time, cannot be reached or cannot write: {error.orig}"
    else:
        return
    sys.exit(f"{program}: {' '.join(problem.split())}")


def check_migrated(database_url: str) -> None:
    """Refuses a database that cannot be reached or lacks our tables.

    Raises:
        StartError: Naming the database and what to do.
    """
    with _connected(database_url) as connection:
        found = set(inspect(connection).get_table_names())
    missing = {*Base.metadata.tables, "alembic_version"} - found
    if missing:
        raise StartError(
            f"The database lacks the tables {', '.join(sorted(missing))}; run `python -m migrations.upgrade` first. "
            f"Received: {_shown(database_url)}"
        )


def check_reachable(database_url: str) -> None:
    """Refuses a database that cannot be reached.

    Raises:
        StartError: Naming the database and what to do.
    """
    with _connected(database_url):
        pass  # to connect is to read the file: its journal mode is set


def check_blobs(blob_url: str) -> None:
    """Refuses a blob store whose library is not installed. Its folder is made here: whoever writes first would let all read it.

    Raises:
        StartError: Naming what to install.
    """
    try:
        root = FileSystem(blob_url).local("")
        if root is not None:
            with suppress(OSError):  # an outage like any other, which may be over before somebody writes
                _make_private(root)
    except ImportError as error:
        raise StartError("SECATEUR_BLOB_URL: S3 needs its library; install secateur-server[s3]") from error


def _make_private(folder: Path) -> None:
    """Makes a folder, and those above it, for its user alone: data sets and models will lie in it."""
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    try:
        engine = make_engine(database_url)
    except ValueError as error:
        raise StartError(f"SECATEUR_DATABASE_URL: {error}") from error
    except ImportError as error:  # also of a driver without its library, libpq
        raise StartError("SECATEUR_DATABASE_URL: PostgreSQL needs its driver; install secateur-server[postgres]") from error
    except OSError as error:
        raise StartError(
            "The folder of the database cannot be made; set SECATEUR_DATA_DIR, or SECATEUR_DATABASE_URL, to one that can be "
            f"written: {error}"
        ) from error
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise StartError(
            f"The database cannot be reached; check SECATEUR_DATABASE_URL and SECATEUR_DATA_DIR: {reason}. "
            f"Received: {_shown(database_url)}"
        ) from error
    finally:
        engine.dispose()


def _shown(database_url: str) -> str:
    # What follows the question mark may be a password too.
    return make_url(database_url).set(query={}).render_as_string(hide_password=True)


def _problems(error: ValidationError) -> str:
    """Returns what is wrong with settings, by the names of their variables. No URL is shown: it may carry a password."""
    found = []
    for problem in error.errors(include_url=False, include_context=False):
        if problem["type"] == "default_factory_not_called":  # because of another problem
            continue
        name = f"SECATEUR_{str(problem['loc'][0]).upper()}"
        received = "" if problem["type"] == "value_error" or name.endswith("_URL") else f". Received: {problem['input']!r}"
        found.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}{received}")
    return "; ".join(found)
