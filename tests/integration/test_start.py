"""What keeps a process from starting is one line that says what to do: every command, as an operator runs it."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from migrations.upgrade import upgrade
from tests.support.s3 import S3
from tests.support.server import PATIENCE_S
from tests.support.stack import ROOT

SERVER: Final = ("secateur-server",)
WORKER: Final = ("secateur-worker",)
ADMIN: Final = ("secateur-admin", "tokens", "list")
UPGRADE: Final = ("python", "-m", "migrations.upgrade")
SWEEP: Final = ("secateur-sweep", "--dry-run")
OTHERS: Final = ("token", "ca_file", "client_certificate_file", "client_key_file", "port", "service_port")
"""Variables of the SDK, and of Kubernetes where a service is called secateur."""
COMMANDS: Final = [SERVER, WORKER, ADMIN, SWEEP]


def lines_of(command: tuple[str, ...], modules: Path | None = None, /, **settings: str) -> list[str]:
    """Runs a command that cannot start, and returns the lines that it says.

    Args:
        command: The command and its arguments.
        modules: Folder that Python looks for modules in first; None for none.
        settings: Settings by their names in lower case.
    """
    binary = Path(sys.executable).with_name(command[0])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECATEUR_")}
    if modules is not None:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(modules), kept.get("PYTHONPATH"))))
    found = subprocess.run(
        [binary, *command[1:]],
        env={**kept, **{f"SECATEUR_{name.upper()}": value for name, value in settings.items()}},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, ""), found.stderr
    return found.stderr.splitlines()


def refusal(command: tuple[str, ...], modules: Path | None = None, /, **settings: str) -> str:
    """Runs a command that cannot start, as `lines_of` does, and returns the one line that it says, without its name."""
    (line,) = lines_of(command, modules, **settings)
    program, _, said = line.partition(": ")
    assert program in " ".join(command)
    return said


def lacking(module: str, folder: Path) -> Path:
    """Returns a folder with which Python starts as if a module were not installed."""
    (folder / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_was_not_migrated(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(command, data_dir=str(tmp_path))
    assert said.startswith("The database lacks the tables")
    assert said.endswith(f"run `python -m migrations.upgrade` first. Received: sqlite:///{tmp_path}/secateur.db")


@pytest.mark.parametrize(
    ("command", "name", "meant"),
    [
        (SERVER, "tls_client_ca", "tls_client_ca_file"),
        (WORKER, "databse_url", "database_url"),
    ],
)
def test_a_setting_that_is_misspelt_is_told_with_what_was_meant(
    command: tuple[str, ...], name: str, meant: str, tmp_path: Path
) -> None:
    of_others = {**dict.fromkeys(OTHERS, "1"), "data_dir": str(tmp_path)}
    warning, refused = lines_of(command, **of_others, **{name: "pw-1"})
    told = json.loads(warning)
    assert (told["event"], told["level"]) == ("setting_unknown", "warning")
    assert (told["variable"], told["meant"]) == (f"SECATEUR_{name.upper()}", f"SECATEUR_{meant.upper()}")
    assert "pw-1" not in warning
    assert "The database lacks the tables" in refused


@pytest.mark.parametrize("command", [*COMMANDS, UPGRADE], ids=" ".join)
def test_a_database_that_is_away(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(command, data_dir=str(tmp_path), database_url=f"postgresql://me:pw-1@/db?host={tmp_path}")
    assert said.startswith("The database cannot be reached")
    assert "pw-1" not in said
    assert "Received: postgresql://me:***@/db" in said


@pytest.mark.parametrize("command", [*COMMANDS, UPGRADE], ids=" ".join)
def test_settings_that_are_wrong_are_named_by_their_variables(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(command, data_dir=str(tmp_path), redis_url="foo:pw-1", lease_seconds="0", blob_url="blobs")
    assert "SECATEUR_REDIS_URL: A Redis is redis://" in said
    assert "SECATEUR_BLOB_URL: A blob store is file:///PATH" in said
    assert "SECATEUR_LEASE_SECONDS: Input should be greater than 0. Received: '0'" in said
    assert "pw-1" not in said
    assert "pydantic" not in said


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [(SERVER, "authentication", "token"), (SERVER, "listen_address", "127.0.0.1:99999"), (WORKER, "worker_queues", "tpu")],
)
def test_a_setting_of_one_process_is_named_too(command: tuple[str, ...], name: str, value: str) -> None:
    assert re.match(rf"SECATEUR_{name.upper()}: .* Received: '?{value}\b", refusal(command, **{name: value}))


@pytest.mark.parametrize("command", [*COMMANDS, UPGRADE], ids=" ".join)
def test_a_data_folder_that_cannot_be(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = "/proc/nope" if command == UPGRADE else f"{tmp_path}/file"
    said = refusal(command, data_dir=folder)
    assert "set SECATEUR_DATA_DIR" in said
    assert folder in said


@pytest.mark.parametrize(
    ("command", "url", "problem"),
    [
        (ADMIN, "mysql://me:pw-1@db/secateur", "runs on SQLite and on PostgreSQL"),
        (UPGRADE, "postgresql+asyncpg://me:pw-1@db/secateur", "runs on SQLite and on PostgreSQL"),
        (ADMIN, "postgresql://127.0.0.1/secateur?password=pw-1&port=1", "cannot be reached"),
        (UPGRADE, "sqlite:///{}", "not a database"),
    ],
)
def test_what_is_no_database_of_ours(command: tuple[str, ...], url: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, " * 100)
    said = refusal(command, database_url=url.format(tmp_path / "file"))
    assert problem in said
    assert "SECATEUR_DATABASE_URL" in said
    assert "pw-1" not in said


@pytest.mark.parametrize("command", [ADMIN, UPGRADE], ids=" ".join)
def test_a_database_whose_driver_is_not_installed(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, line = "postgresql://me:pw-1@db/secateur", "PostgreSQL needs its driver; install secateur-server[postgres]"
    assert refusal(command, lacking("psycopg", tmp_path), database_url=url) == f"SECATEUR_DATABASE_URL: {line}"
    monkeypatch.setenv("PSYCOPG_IMPL", "c")  # the driver is there, the library that it needs is not
    assert refusal(command, database_url=url) == f"SECATEUR_DATABASE_URL: {line}"


@pytest.mark.parametrize("command", [SERVER, WORKER, SWEEP], ids=" ".join)
def test_a_blob_store_whose_library_is_not_installed(command: tuple[str, ...], tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/secateur.db")
    said = refusal(command, lacking("s3fs", tmp_path), data_dir=str(tmp_path), blob_url="s3://bucket")
    assert said == "SECATEUR_BLOB_URL: S3 needs its library; install secateur-server[s3]"


def test_a_database_of_another_release(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "secateur.db")) as connection:
        connection.executescript("CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('ff')")
    assert "not one of this release" in refusal(UPGRADE, data_dir=str(tmp_path))


def test_a_sweep_of_blobs_that_are_away(s3: S3, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/secateur.db")
    said = refusal(SWEEP, data_dir=str(tmp_path), blob_url="s3://no-such-bucket/blobs")
    assert said.endswith("correct SECATEUR_BLOB_URL. Received: no-such-bucket")


def test_a_disk_that_nothing_can_be_written_to(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/secateur.db")
    limit = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); os.execv(sys.argv[1], sys.argv[1:])"
    )
    admin = str(Path(sys.executable).with_name("secateur-admin"))
    create = ("tokens", "create", "--all-projects", "--scope", "admin")
    assert refusal(("python", "-c", limit, admin, *create), data_dir=str(tmp_path)).startswith("The database")


def test_a_worker_takes_no_option_of_celery() -> None:
    found = subprocess.run([Path(sys.executable).with_name(*WORKER), "--app=shop"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.endswith("secateur-worker: error: unrecognized arguments: --app=shop\n")
