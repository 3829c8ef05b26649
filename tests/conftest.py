"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.postgres import Postgres, postgres_server
from tests.support.s3 import S3, s3_server

# How long an example takes says more about what else runs on the machine than about the code.
settings.register_profile("secateur", deadline=None)
settings.load_profile("secateur")


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
