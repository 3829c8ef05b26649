"""Migrations: they make the tables of the code, from nothing, twice, and at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from migrations import check
from migrations.upgrade import downgrade, upgrade
from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.store import Store
from secateur.store.database import make_engine
from secateur.store.ledger import JobLedger
from secateur.store.startup import StartError, check_migrated
from tests.support.store import PROJECT, claim, create, events, read

ROOT = Path(__file__).parents[3]


def execute(url: str, *statements: str) -> int | None:
    """Executes statements in one transaction and returns the first figure of the last one's result, if it has any."""
    engine = make_engine(url)
    with engine.begin() as connection:
        results = [connection.execute(text(statement)) for statement in statements]
        figure = results[-1].scalar() if results[-1].returns_rows else None
    engine.dispose()
    return figure


def test_up_down_and_up_again_make_the_tables_of_the_code(empty_database_url: str) -> None:
    assert check.problems(empty_database_url) == []


def test_tables_without_a_version_are_not_taken_for_migrated(sqlite_url: str) -> None:
    check_migrated(sqlite_url)
    execute(sqlite_url, "DROP TABLE alembic_version")
    with pytest.raises(StartError, match="lacks the tables alembic_version;"):
        check_migrated(sqlite_url)


def test_drift_is_found(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    execute(empty_database_url, "ALTER TABLE jobs DROP COLUMN display_name", "DROP INDEX ix_outbox_unsent")
    found = str(check.differences(empty_database_url))
    assert "display_name" in found
    assert "ix_outbox_unsent" in found


def test_a_database_one_revision_old_works_with_the_code_of_today(empty_database_url: str, graph: LayerGraph) -> None:
    """Whatever comes first, a release or its migrations, jobs go on: code relies on what the release before has added."""
    upgrade(empty_database_url)
    downgrade(empty_database_url, "-1")
    store = Store(empty_database_url)
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, graph, cost_of(graph))
        work.commit()
    job = create(store, graph)
    JobLedger(store).finish(claim(store, job), JobState.SUCCEEDED)
    upgrade(empty_database_url)
    assert [event.state for event in events(store, job)] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
    assert read(store, job).state is JobState.SUCCEEDED
    store.close()


def test_upgrading_twice_changes_nothing_and_keeps_the_rows(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    execute(empty_database_url, "INSERT INTO requests VALUES ('p', 'm', 'r', 'f', 'id', '2026-01-01 00:00:00.000000')")
    upgrade(empty_database_url)
    assert execute(empty_database_url, "SELECT count(*) FROM requests") == 1


def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    environment = {**os.environ, "SECATEUR_DATABASE_URL": empty_database_url}
    command = [sys.executable, "-W", "error", "-m", "migrations.upgrade"]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert check.differences(empty_database_url) == []
