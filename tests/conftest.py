"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.support.postgres import Postgres, postgres_server
from tests.support.s3 import S3, s3_server

TESTS = Path(__file__).parent
LONG = tuple(
    TESTS / name
    for name in ("e2e", "unit/workers", "integration/server/test_fuzz.py", "unit/core/graph", "integration/workers", "chaos")
)
"""What holds the files that take longest. They go first, so that no process is left alone with one of them at the end."""

# How long an example takes says more about what else runs on the machine than about the code.
settings.register_profile("secateur", deadline=None)
settings.load_profile("secateur")

# Servers that tests run in this process have their say at any time: not on the stdout that a test reads, but in pytest's log.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((place for place, long in enumerate(LONG) if item.path.is_relative_to(long)), len(LONG)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of the process, started for the first that asks for it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One S3 for all tests of the process, started for the first that asks for it."""
    with s3_server() as server:
        yield server
