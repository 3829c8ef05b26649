"""Migrations: they make the tables of the code, from nothing, twice, and at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from migrations import check
from migrations.upgrade import upgrade

ROOT = Path(__file__).parents[3]


def test_up_down_and_up_again_make_the_tables_of_the_code(tmp_path: Path) -> None:
    assert check.problems(f"sqlite:///{tmp_path}/check.db") == []


def test_drift_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/drift.db"
    upgrade(url)
    with sqlite3.connect(tmp_path / "drift.db") as connection:
        connection.execute("ALTER TABLE jobs DROP COLUMN display_name")
        connection.execute("DROP INDEX ix_outbox_unsent")
    connection.close()
    found = str(check.differences(url))
    assert "display_name" in found
    assert "ix_outbox_unsent" in found


def test_upgrading_twice_changes_nothing_and_keeps_the_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/twice.db"
    upgrade(url)
    with sqlite3.connect(tmp_path / "twice.db") as connection:
        connection.execute("INSERT INTO requests VALUES ('p', 'm', 'r', 'f', 'id', '2026-01-01 00:00:00.000000')")
    upgrade(url)
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == (1,)
    connection.close()


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    environment = {**os.environ, "SECATEUR_DATA_DIR": str(tmp_path / "new")}
    command = [sys.executable, "-W", "error", "-m", "migrations.upgrade"]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert check.differences(f"sqlite:///{tmp_path}/new/secateur.db") == []
