"""One real server on a port for all tests here, on a real database, blobs folder and Redis; each test has its own project.

The database is SQLite, and PostgreSQL as well for the modules that ask for it: `pytestmark = ON_BOTH_DATABASES`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from migrations.upgrade import upgrade
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.wakeups import Wakeups
from tests.support.postgres import Postgres
from tests.support.server import Api, make_settings, running
from tests.support.store import redis_server


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerSettings]:
    """Settings of a server with a Redis that runs and a database that is migrated."""
    folder = tmp_path_factory.mktemp("server")
    with redis_server(folder), ExitStack() as stack:
        settings = make_settings(folder)
        if getattr(request, "param", "sqlite") == "postgresql":
            postgres: Postgres = request.getfixturevalue("postgres")
            settings = make_settings(folder, database_url=stack.enter_context(postgres.database()))
        upgrade(settings.database_url)
        yield settings


@pytest.fixture(scope="session")
def channel(settings: ServerSettings) -> Iterator[grpc.Channel]:
    with running(settings) as server, grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def api(channel: grpc.Channel) -> Api:
    """Stubs, in a project of the test's own."""
    return Api(channel, f"p-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def store(settings: ServerSettings) -> Iterator[Store]:
    """The store as another process has it: a worker."""
    wakeups = Wakeups(settings.redis_url)
    store = Store(settings.database_url, wakeups=wakeups)
    yield store
    store.close()
    wakeups.close()


@pytest.fixture(scope="session")
def blobs(settings: ServerSettings) -> BlobStore:
    return BlobStore(settings.blob_url)


@pytest.fixture
def silent_store(settings: ServerSettings) -> Iterator[Store]:
    """The store as a process has it whose wake-ups are lost."""
    store = Store(settings.database_url)
    yield store
    store.close()
