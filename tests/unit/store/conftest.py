"""A store on a real database file for each test, and the same suite for every kind of database."""

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
from tests.support.store import PROJECT, Clock, a_graph, a_plan


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, graph: LayerGraph) -> Path:
    """A migrated database that holds one architecture; copying it is faster than migrating anew."""
    path = tmp_path_factory.mktemp("template") / "secateur.db"
    upgrade(f"sqlite:///{path}")
    store = Store(f"sqlite:///{path}", clock=Clock())
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, graph, cost_of(graph), display_name="ResNet-20")
        work.commit()
    store.close()
    return path


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> str:
    """URL of the test's own copy of the template; one parameter per kind of database."""
    assert request.param == "sqlite"
    return f"sqlite:///{shutil.copy(template, tmp_path)}"


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
