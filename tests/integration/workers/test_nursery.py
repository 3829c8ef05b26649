"""The nursery and its children: real processes, seen from outside and over their sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
import structlog

from secateur.core.jobs import JobStage
from secateur.core.reports import ArtifactFormat, TargetReport
from secateur.core.resources import Budget
from secateur.core.specs import JobSpec
from secateur.workers.children import CHILD_MODULE, Child, Nursery
from secateur.workers.protocol import Done, Job, Message, StageChanged, TargetDone
from tests.support.runs import Run
from tests.support.stack import until
from tests.support.training import QUICK, quick_job, small_network
from tests.support.untidy_child import LEFT

LOADED = 240.0
"""Seconds that a busy machine may take to load the frameworks; nothing else here takes longer."""
UNTIDY = "tests.support.untidy_child"
TORN = "tests.support.torn_child"
SMALL = "tests.chaos.child"
BUDGET = Budget.of(flash_bytes=12_000)
SPEC = quick_job(BUDGET, recipe=replace(QUICK, epochs=1))
TWO_SECONDS = replace(SPEC, recipe=replace(QUICK, epochs=20))
"""That is how long a small child takes for it."""


@pytest.fixture
def small() -> Iterator[Nursery]:
    """A nursery whose children sleep instead of training: of use where it matters only that they are at work."""
    with Nursery(module=SMALL) as nursery:
        yield nursery


def start(nursery: Nursery, folder: Path, spec: JobSpec = SPEC) -> Child:
    child = nursery.child()
    child.send(Job.of("job1", spec, small_network(), folder.as_uri()))
    return child


def hear_out(child: Child) -> NoReturn:
    """Hears a child until the end, which raises."""
    while True:
        child.receive(LOADED)


def messages(child: Child) -> list[Message]:
    """Everything that a child says until it ends."""
    said = []
    try:
        while True:
            said.append(child.receive(LOADED))
    except EOFError:
        return said


def files_of(report: TargetReport) -> dict[ArtifactFormat, str]:
    return {artifact.format: artifact.sha256 for artifact in report.artifacts}


def nursery_of(child: Child) -> psutil.Process:
    parent = psutil.Process(child.pid).parent()
    assert parent is not None
    return parent


def test_a_forked_child_makes_the_files_that_a_process_of_its_own_makes(nursery: Nursery, tmp_path: Path) -> None:
    forked = start(nursery, tmp_path)
    alone = Run(small_network(), SPEC).report
    (report,) = [message.report for message in messages(forked) if isinstance(message, TargetDone)]
    assert files_of(report) == files_of(alone)


def test_a_child_is_there_at_once_with_the_frameworks_loaded(nursery: Nursery) -> None:
    first = nursery.child()
    assert psutil.pid_exists(first.pid)  # the nursery has loaded them by now
    second = nursery.child()
    assert "libtensorflow" in Path(f"/proc/{second.pid}/maps").read_text()  # it has just begun
    first.kill()
    second.kill()
    assert not psutil.pid_exists(first.pid)
    assert not psutil.pid_exists(second.pid)


def test_the_death_of_a_child_is_told_and_touches_no_other(small: Nursery, tmp_path: Path) -> None:
    lucky, unlucky = (start(small, tmp_path, TWO_SECONDS) for _ in range(2))
    busy, pid = nursery_of(lucky), unlucky.pid
    busy.suspend()  # as on a machine that has no time for it
    threading.Timer(1.5, busy.resume).start()
    os.kill(pid, signal.SIGSEGV)
    busy.send_signal(signal.SIGINT)  # a Ctrl-C in the terminal is left to the worker,
    busy.send_signal(signal.SIGTERM)  # and so is what a process manager sends to all processes of a service
    with pytest.raises(EOFError, match="status -11"):
        hear_out(unlucky)
    with pytest.raises(EOFError, match="status 0"):  # its job is done
        hear_out(lucky)
    assert small.child().pid


def test_a_child_holds_nothing_of_its_nursery_or_its_siblings(small: Nursery) -> None:
    def held(child: Child) -> int:
        links = set()
        for file in Path(f"/proc/{child.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has just been closed
                links.add(str(file.readlink()))
        return sum("socket:" in link or "pidfd" in link for link in links)

    first, second = small.child(), small.child()
    until(lambda: (held(first), held(second)) == (1, 1), "nothing but their talk to the worker is left")


def test_nobody_waits_long_for_a_nursery_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("_STATUS_SECONDS", "_END_SECONDS"):
        monkeypatch.setattr(f"secateur.workers.children.{patience}", 0.5)
    with Nursery(module=SMALL) as nursery:
        running = start(nursery, tmp_path, TWO_SECONDS)
        stopped = nursery_of(running)
        stopped.suspend()
        unborn = start(nursery, tmp_path)
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(EOFError, match="unknown status"):
            hear_out(running)
    assert not stopped.is_running()
    with pytest.raises(EOFError, match="unknown status"):
        unborn.receive(LOADED)


def test_a_child_that_dies_in_the_middle_of_a_message_ends_as_any_other(tmp_path: Path) -> None:
    with Nursery(module=TORN) as nursery:
        open_files = psutil.Process().num_fds()
        child = nursery.child()
        child.send(Job.of("job1", replace(SPEC, seed=0), small_network(), tmp_path.as_uri()))
        assert child.receive(LOADED) == StageChanged(JobStage.TRAINING, "whole")
        with pytest.raises(EOFError, match="status -9"):
            child.receive(LOADED)
        child.kill()
        assert psutil.Process().num_fds() == open_files


def test_a_child_that_says_what_is_no_message_is_given_up_and_heard_no_more(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs, Nursery(module=TORN) as nursery:
        child = nursery.child()
        child.send(Job.of("job1", replace(SPEC, seed=1), small_network(), tmp_path.as_uri()))
        with pytest.raises(EOFError, match="status 1"):
            child.receive(LOADED)
        assert not psutil.pid_exists(child.pid)
    (line,) = logs
    assert line["event"] == "training process given up"
    assert "no message" in line["error"]


def test_a_running_child_outlives_its_nursery_and_the_next_comes_from_a_new_one(small: Nursery, tmp_path: Path) -> None:
    running = start(small, tmp_path, TWO_SECONDS)
    before = nursery_of(running)
    before.kill()
    before.wait(LOADED)
    after = small.child()
    assert messages(running)[-1] == Done()
    assert nursery_of(after) != before
    after.kill()


def test_a_nursery_that_dies_before_the_fork_costs_the_attempt(tmp_path: Path) -> None:
    others = psutil.Process().children()
    with Nursery() as nursery:
        (loading,) = [one for one in psutil.Process().children() if one not in others]
        child = start(nursery, tmp_path)
        loading.kill()
        with pytest.raises(EOFError, match="unknown status"):
            child.receive(LOADED)
        child.kill()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that the processes of a test make temporary files in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by(child: Child, seed: int, folder: Path) -> Path:
    """Has an untidy child do a job, and returns the file that it has made in a temporary folder."""
    child.send(Job.of("job1", replace(SPEC, seed=seed), small_network(), folder.as_uri()))
    said = child.receive(LOADED)
    assert isinstance(said, StageChanged)
    return Path(said.message)


def test_temporary_files_go_with_the_child_however_it_ends(temporary: Path) -> None:
    with Nursery(module=UNTIDY) as nursery:
        killed, ended = nursery.child(), nursery.child()
        file = left_by(killed, 1, temporary)
        assert file.read_bytes() == LEFT
        killed.kill()
        until(lambda: not file.parent.exists(), "its folder is gone", LOADED)
        other = left_by(ended, 0, temporary)
        until(lambda: not other.parent.exists(), "its folder is gone", LOADED)
        running = nursery.child()
        assert temporary in left_by(running, 1, temporary).parents
        assert any(temporary.iterdir())
    assert not any(temporary.iterdir())
    assert not psutil.pid_exists(running.pid)


def test_a_worker_removes_what_one_that_was_killed_with_its_nursery_has_left(temporary: Path) -> None:
    code = f"import time; from secateur.workers.children import Nursery; Nursery(module={UNTIDY!r}); time.sleep(99)"
    worker = psutil.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)})
    until(lambda: bool(worker.children()), "there is a nursery")
    for process in (*worker.children(), worker):
        process.kill()
    worker.wait()
    (left,) = temporary.iterdir()
    with Nursery(module=UNTIDY) as first, Nursery(module=UNTIDY) as second:
        assert not left.exists()
        assert len(list(temporary.iterdir())) == 2
        for nursery in (first, second):
            assert nursery.child().pid
    assert not any(temporary.iterdir())


@pytest.mark.parametrize("module", [UNTIDY, CHILD_MODULE])
def test_temporary_files_go_with_a_worker_that_is_killed(temporary: Path, module: str) -> None:
    code = f"import time; from secateur.workers.children import Nursery; Nursery(module={module!r}).child(); time.sleep(99)"
    worker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)})
    until(lambda: any(temporary.iterdir()), "there is a folder", LOADED)
    time.sleep(1)  # loading, or with a child
    worker.kill()
    worker.wait()
    until(lambda: not any(temporary.iterdir()), "it is gone", LOADED)  # the nursery may be starting still


def test_a_nursery_ends_with_its_worker_even_while_it_loads(tmp_path: Path) -> None:
    worker, control = socket.socketpair()
    command = [sys.executable, "-m", "secateur.workers.nursery", CHILD_MODULE, str(tmp_path / "temporary")]
    with control:
        process = subprocess.Popen(command, stdin=control.fileno())
    time.sleep(1)  # past the interpreter's start, long before the frameworks are loaded
    worker.close()
    assert process.wait(LOADED) == 1  # where it goes on loading it ends with 0


def test_what_cannot_be_forked_is_started_afresh() -> None:
    module = "tests.support.threaded_child"
    with Nursery(module=module) as nursery:
        child = nursery.child()
        process = psutil.Process(child.pid)
        until(lambda: process.cmdline()[1:] == ["-m", module], "the child is a program of its own")
        child.kill()
