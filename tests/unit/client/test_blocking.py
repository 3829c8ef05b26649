"""The blocking client where its thread and the caller's get in each other's way: exits, collections, callbacks, forks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import pytest

from secateur.client import Client, Target, UsageError
from tests.support.stack import until
from tests.unit.client.conftest import RESNET
from tests.unit.client.remote.service import Service

TARGET = Target(flash="64KiB")

BEGIN = """
import sys
from secateur.client import Client, Target, Zoo
client = Client()
{before}job = client.submit(Zoo("resnet20", (8, 8, 1), 10), dataset="digits", targets=Target(flash="64KiB"))
"""
"""How the scripts of this file begin."""


def script(remote: Service, text: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a script against the service, `before` ahead of its first call; fails if it does not end."""
    environment = {**os.environ, "SECATEUR_ADDRESS": remote.address, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", BEGIN.format(before=before) + text],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rows = client.models(); print(next(rows).name)", 0),
        ("rows = client.device_profiles(); print(next(rows).name)", 0),
        ("events = job.watch(); print(next(events).sequence); sys.exit(5)", 5),
        ("events = job.watch()\nfor event in events:\n    print(event.sequence); sys.exit(5)", 5),
        ("class Held: pass\nheld = Held(); held.itself = held; held.rows = client.models(); print(next(held.rows).name)", 0),
        (
            "def held():\n    with Client() as own:\n        yield from own.models()\nrows = held(); print(next(rows).name)",
            0,
        ),
    ],
)
def test_a_script_ends_with_its_own_exit_code_though_an_iterator_is_half_read(remote: Service, text: str, code: int) -> None:
    remote.jobs.live = True
    ended = script(remote, text)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert ended.stdout


def test_a_call_while_the_interpreter_ends_is_refused(remote: Service) -> None:
    ended = script(remote, "class Late:\n    def __del__(self): self.job.refresh()\nlate = Late(); late.job = job")
    assert ended.returncode == 0
    assert "CLIENT_CLOSED: The interpreter is ending" in ended.stderr


def test_iterators_that_the_collector_ends_in_any_thread_stop_no_call(client: Client) -> None:
    def first_match(text: str) -> str:
        rows = client.device_profiles()
        failed = None
        try:
            for profile in rows:
                if text in profile.name:
                    raise LookupError(text)  # noqa: TRY301 -- it is the frame that counts
        except LookupError as error:
            failed = error  # a cycle of error, traceback, this frame and the iterator in it
        return str(failed)

    thresholds = gc.get_threshold()
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor() as threads:
            found = threads.submit(lambda: [first_match("stm32") for _ in range(300)]).result(120)
    finally:
        gc.set_threshold(*thresholds)
    assert set(found) == {"stm32"}


def test_an_iteration_that_is_left_ends_at_the_server(client: Client, remote: Service) -> None:
    remote.jobs.live = True
    job = client.submit(RESNET, dataset="digits", targets=TARGET)
    for _ in job.watch():
        until(lambda: remote.jobs.watching == 1, "the server is watched")
        break
    until(lambda: remote.jobs.watching == 0, "the server is no longer watched")


class Meddler:
    """An architecture whose description calls the client, and is asked for in the client's own thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def to_json(self) -> str:
        return next(self._client.models()).name


def test_a_call_in_the_clients_own_thread_is_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="CLIENT_REENTERED"):
        client.upload(Meddler(client))
    assert next(client.models()).name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of three chunks and a bit."""
    path = tmp_path / "set.npz"
    with ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", bytes(3 * 2**20))
        archive.writestr("y_train.npy", b"")
    return path


def test_progress_is_told_in_the_thread_that_uploads_and_may_call_the_client(client: Client, file: Path) -> None:
    told: list[tuple[int, int]] = []
    threads: set[threading.Thread] = set()

    def tell(sent: int, size: int) -> None:
        assert client.dataset("digits").classes == 10
        told.append((sent, size))
        threads.add(threading.current_thread())

    uploaded = client.upload_dataset("my-set", file, on_progress=tell)

    size = uploaded.size_bytes
    assert told == [(0, size), (2**20, size), (2 * 2**20, size), (3 * 2**20, size), (size, size)]
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
def test_whatever_is_raised_while_progress_is_told_comes_out(client: Client, file: Path, kind: type[BaseException]) -> None:
    def tell(_sent: int, _size: int) -> None:
        raise kind

    with pytest.raises(kind):
        client.upload_dataset("my-set", file, on_progress=tell)
    assert client.dataset("digits").classes == 10


class Quitter:
    """An architecture that gives up when it is asked for its description."""

    def to_json(self) -> str:
        raise SystemExit(3)


def test_a_call_that_ends_with_system_exit_ends_so_for_its_caller_alone(client: Client) -> None:
    with pytest.raises(SystemExit):
        client.upload(Quitter())
    assert client.dataset("digits").classes == 10


FORK = """
import asyncio, gc, os
from secateur.client import UsageError, aio
rows = client.models(); next(rows)
gc.disable()  # what gRPC left half done in the parent does not bear being freed in the child
child = os.fork()
if child:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(job.refresh().state)
    sys.exit(code)
async def anew():
    async with aio.Client() as client:
        await client.model("aa01")
for call in (job.refresh, lambda: next(rows), lambda: next(client.models()), lambda: Client().model("aa01"),
             lambda: asyncio.run(anew())):
    try:
        call()
    except UsageError as error:
        print(error)
del rows
client.close()
sys.stdout.flush()
os._exit(0)  # as multiprocessing ends its children
"""
"""Forks amid an iteration, and calls in the child: with the client of its parent, with a new one, and with asyncio."""


def test_a_forked_process_says_at_once_that_it_cannot_call(remote: Service) -> None:
    ended = script(remote, FORK)
    assert ended.returncode == 0, ended.stderr
    *refusals, state = ended.stdout.splitlines()
    assert len(refusals) == 5
    for refusal in refusals:
        assert refusal.startswith("CLIENT_FORKED: ")
        assert 'multiprocessing.get_context("spawn")' in refusal
    assert state == "SUCCEEDED"


def test_a_process_that_forks_before_its_first_call_may_call_in_the_child(remote: Service) -> None:
    before = "import os\nif (child := os.fork()):\n    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    ended = script(remote, "print(job.wait().state)", before=before)
    assert (ended.returncode, ended.stdout) == (0, "SUCCEEDED\n"), ended.stderr
