"""A store on a real database of its own for each test, and the same suite for every kind of database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations.upgrade import upgrade
from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan
from secateur.store import Store
from secateur.store.ledger import JobLedger
from tests.support.postgres import DATABASES, Postgres
from tests.support.s3 import S3
from tests.support.store import PROJECT, Clock, a_graph, a_plan


def fill(url: str, graph: LayerGraph) -> None:
    """Migrates a database and puts one architecture into it. Copying such a one is faster than migrating anew."""
    upgrade(url)
    store = Store(url, clock=Clock())
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, graph, cost_of(graph), display_name="ResNet-20")
        work.commit()
    store.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, graph: LayerGraph) -> Path:
    path = tmp_path_factory.mktemp("template") / "secateur.db"
    fill(f"sqlite:///{path}", graph)
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, graph: LayerGraph) -> str:
    name = postgres.create()
    fill(postgres.url(name), graph)
    return name


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    with postgres.database(postgres_template) as url:
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of the test's own copy of the template; one parameter per kind of database."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without anything in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def graph() -> LayerGraph:
    return a_graph()


@pytest.fixture(scope="session")
def chosen_plan(graph: LayerGraph) -> Plan:
    return a_plan(graph)


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    store = Store(database_url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def ledger(store: Store) -> JobLedger:
    return JobLedger(store)


@pytest.fixture(params=["file", "s3"])
def blob_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty blob store; one parameter per kind."""
    if request.param == "file":
        return f"file://{tmp_path}/blobs"
    s3: S3 = request.getfixturevalue("s3")
    return s3.bucket()
