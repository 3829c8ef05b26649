"""Where answers and errors of the command line go: output that cannot be written, plain ASCII, and errors as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.client.command_line import NET, SUBMIT, TARGET, run
from tests.unit.client.remote.service import Service


def command(remote: Service, *arguments: str, stdout: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "secateur.client.cli", "--address", remote.address, *arguments],
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("arguments", [["profiles", "list"], ["profiles", "list", "--json"], ["--help"]])
def test_an_answer_that_cannot_be_written_is_one_line(remote: Service, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = command(remote, *arguments, stdout=full.fileno())
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "No space left on device" in result.stderr
    if "--json" in arguments:
        assert json.loads(result.stderr)["error"]["reason"] == "IO_FAILED"


def test_a_pipe_that_is_closed_is_no_error_to_tell(remote: Service) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = command(remote, "profiles", "list", stdout=writing)
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["profiles", "list"], ["profiles", "list", "--json"]])
def test_nobody_needs_to_read_the_answer(remote: Service, arguments: list[str]) -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "secateur.client.cli", "--address", remote.address]
    result = subprocess.run([*shell, *arguments], stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["quote", *NET, *TARGET], ["jobs", "get", "00000001"], ["jobs", "watch", "00000001"]])
def test_what_an_encoding_lacks_is_replaced(remote: Service, arguments: list[str]) -> None:
    run(remote, *SUBMIT, "--name", "Größe µ", "--no-wait")
    result = command(remote, *arguments, stdout=subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        (["jobs", "get", "--json"], "name", "Missing argument"),
        (["jobs", "list", "--limit", "0", "--json"], "limit", "'--limit'"),
        (["jobs", "list", "--json", "--colour", "red"], "", "No such option: --colour"),
        (["jobs", "list", "--json", "--project", "p"], "", "goes before the command: secateur --project ... jobs ..."),
        (["--token-file", "/no/such/file", "jobs", "list", "--json"], "token_file", "/no/such/file"),
        (["job", "list", "--json"], "", "No such command"),
    ],
)
def test_wrong_usage_is_a_line_of_json_too(remote: Service, arguments: list[str], field: str, words: str) -> None:
    result = run(remote, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["reason"], error["field"], error["metadata"]) == ("", "USAGE_INVALID", field, {})
    assert words in error["message"]


def test_with_json_the_exit_codes_are_the_same(remote: Service) -> None:
    assert run(remote, "jobs", "list", "--json").exit_code == 0
    remote.faults.fail("GetJob", "NOT_FOUND", reason="JOB_NOT_FOUND")
    assert run(remote, "jobs", "get", "beef", "--json").exit_code == 1
    remote.plans.feasible = False
    assert run(remote, "quote", *NET, *TARGET, "--json").exit_code == 4


def test_what_others_have_written_does_not_command_the_terminal(remote: Service) -> None:
    written = "\x1b]0;owned\x07\x1b[2J\x9b2Jé"
    board = ("profiles", "add", "my-board", "--flash", "1MiB", "--ram", "320KiB", "--clock", "216MHz", "--macs", "200M")

    result = command(remote, *board, "--name", written, "--source", written, stdout=subprocess.PIPE, FORCE_COLOR="1")

    assert (result.returncode, result.stderr) == (0, "")
    assert "owned" in result.stdout
    assert "é" in result.stdout
    assert not re.search("[\x07\x9b]|\x1b(?!\\[[0-9;]*m)", result.stdout)


def test_errors_and_events_are_one_line_each_that_does_not_command_the_terminal(remote: Service) -> None:
    remote.jobs.live = True
    name = json.loads(run(remote, *SUBMIT, "--no-wait", "--json").stdout)["name"]
    remote.jobs.events[name][0].message = "\x1b]0;owned\x07\x9bé\n2 SUCCEEDED"
    run(remote, "jobs", "cancel", name)
    assert run(remote, "jobs", "watch", name).stdout.splitlines()[0] == "1 QUEUED \ufffd]0;owned\ufffd\ufffdé 2 SUCCEEDED"
    remote.faults.fail("GetJob", "NOT_FOUND", reason="JOB_NOT_FOUND", message="\x1b[2Jowned\n\x9b")
    assert run(remote, "jobs", "get", name).stderr == "error: JOB_NOT_FOUND: \ufffd[2Jowned \ufffd\n"


def test_an_error_tells_when_to_try_again(remote: Service) -> None:
    remote.faults.fail("GetJob", "RESOURCE_EXHAUSTED", reason="QUOTA", metadata={"retry_seconds": "30"}, field="name")
    assert run(remote, "jobs", "get", "beef").stderr == "error: QUOTA: told to fail [name] (try again in 30 s)\n"
