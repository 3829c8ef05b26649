"""What keeps a process from starting is one line that says what to do: every command, as an operator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.stack import ROOT

SERVER: Final = ("secateur-server",)
WORKER: Final = ("secateur-worker",)
COMMANDS: Final = [SERVER, WORKER]


def refusal(command: tuple[str, ...], **settings: str) -> str:
    """Runs a command that cannot start, and returns the one line that it says, without its name.

    Args:
        command: The command and its arguments.
        settings: Settings by their names in lower case.
    """
    binary = Path(sys.executable).with_name(command[0])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECATEUR_")}
    found = subprocess.run(
        [binary, *command[1:]],
        env={**kept, **{f"SECATEUR_{name.upper()}": value for name, value in settings.items()}},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, ""), found.stderr
    (line,) = found.stderr.splitlines()
    program, _, said = line.partition(": ")
    assert program in " ".join(command)
    return said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_was_not_migrated(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(command, data_dir=str(tmp_path))
    assert said.startswith("The database lacks the tables")
    assert said.endswith(f"run `python -m migrations.upgrade` first. Received: sqlite:///{tmp_path}/secateur.db")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_is_away(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(command, data_dir=str(tmp_path), database_url=f"postgresql://me:pw-1@/db?host={tmp_path}")
    assert said.startswith("The database cannot be reached")
    assert "pw-1" not in said
