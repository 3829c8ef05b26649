"""What must hold before a process of ours starts, and how it says that something does not: in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection, inspect, make_url
from sqlalchemy.exc import DBAPIError

from secateur.core.errors import SecateurError
from secateur.store.database import is_passing, make_engine
from secateur.store.files import FileSystem
from secateur.store.settings import PREFIX, Settings
from secateur.store.tables import Base

_ALIKE: Final = 0.9
"""How much of a name has to be that of a setting to be taken for it; names of SDK, server and workers are less alike."""

_log = structlog.get_logger(__name__)


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


def warn_of_misspelt(settings: type[Settings]) -> None:
    """Logs environment variables that are called nearly like a setting: without its file of authorities, a server asks nobody.

    Args:
        settings: The settings of this process.
    """
    known = settings.model_fields
    without_unit = {name.rpartition("_")[0]: name for name in known if "_" in name}
    for variable in os.environ:
        name = variable.upper().removeprefix(PREFIX).lower()
        if not variable.upper().startswith(PREFIX) or name in known:
            continue
        meant = without_unit.get(name) or next(iter(get_close_matches(name, known, n=1, cutoff=_ALIKE)), "")
        if meant:
            _log.warning("setting_unknown", variable=variable, meant=f"{PREFIX}{meant.upper()}")


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
        name = f"{PREFIX}{str(problem['loc'][0]).upper()}"
        received = "" if problem["type"] == "value_error" or name.endswith("_URL") else f". Received: {problem['input']!r}"
        found.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}{received}")
    return "; ".join(found)
