"""The child as its worker sees it: a real process, driven over its sockets."""

from __future__ import annotations

import gzip
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.datasets import load_digits

from secateur.core.datasets import content, drawn_test_images
from secateur.core.graph import LayerGraph, zoo
from secateur.core.reports import ArtifactFormat
from secateur.core.resources import Budget
from secateur.core.specs import JobSpec, Recipe, Target
from secateur.store.blobs import BlobStore
from secateur.workers.nursery import BIRTH, END, FORK
from secateur.workers.protocol import (
    Done,
    Failed,
    Folders,
    Job,
    Message,
    ProgressMade,
    Ready,
    StageChanged,
    TargetDone,
    decode,
    encode,
)
from tests.support.datasets import npz
from tests.support.stack import until
from tests.support.training import QUICK, quick_job, small_network

BUDGET = Budget.of(flash_bytes=12_000)
LOADED = 240.0
"""Seconds that a busy machine may take to load the frameworks; nothing else here takes longer."""
MODULE = "secateur.workers.child"


class Child:
    """A child forked by a nursery, which loads the frameworks once for all tests."""

    def __init__(self, control: socket.socket) -> None:
        self.talk, theirs = socket.socketpair()
        self._life, their_life = socket.socketpair()
        with theirs, their_life:
            socket.send_fds(control, [FORK], [theirs.fileno(), their_life.fileno()])
        (self.pid,) = BIRTH.unpack(self._life.recv(BIRTH.size))
        self._lines = self.talk.makefile("rb")

    def send(self, line: bytes) -> None:
        self.talk.sendall(line)

    def receive(self) -> Message:
        return decode(self._lines.readline())

    def receive_rest(self) -> list[Message]:
        return [decode(line) for line in self._lines]

    def status(self) -> int:
        """How it ended."""
        self._life.settimeout(LOADED)
        return int(END.unpack(self._life.recv(END.size))[0])

    def close(self) -> None:
        """Ends it, as the end of its worker does."""
        self._lines.close()
        self.talk.close()
        self._life.close()


@pytest.fixture(scope="module")
def keras_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Keras keeps what it has downloaded."""
    return tmp_path_factory.mktemp("keras")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, keras_home: Path) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    folder = tmp_path_factory.mktemp("temporary")
    no_network = {"https_proxy": "http://127.0.0.1:1", "no_proxy": ""}
    with theirs:
        command = [sys.executable, "-m", "secateur.workers.nursery", MODULE, str(folder)]
        nursery = subprocess.Popen(
            command, stdin=theirs.fileno(), env=os.environ | no_network | {"KERAS_HOME": str(keras_home)}
        )
    with ours:
        yield ours
    assert nursery.wait(LOADED) == 0
    assert not folder.exists()


@pytest.fixture
def fork(control: socket.socket) -> Iterator[Callable[[], Child]]:
    with ExitStack() as children:
        yield lambda: children.enter_context(closing(Child(control)))


def _job(folder: Path, spec: JobSpec, graph: LayerGraph) -> bytes:
    return encode(Job.of("job1", spec, graph, folder.as_uri(), folders=Folders(cache=folder / "cache")))


def _uploaded_digits(folder: Path) -> str:
    """Puts all digits twice into the blob store, as a project uploads them, and returns what a spec calls them."""
    digits = load_digits()
    pixels = (digits.images * 15.9375).astype(np.uint8)
    twice = {"x_train": np.tile(pixels, (2, 1, 1)), "y_train": np.tile(digits.target, 2)}
    return content(BlobStore(folder.as_uri()).put(npz(twice)))


def test_a_job_on_an_uploaded_data_set_is_run_target_by_target(fork: Callable[[], Child], tmp_path: Path) -> None:
    spec = replace(quick_job(BUDGET, recipe=replace(QUICK, epochs=2)), dataset=_uploaded_digits(tmp_path))
    spec = replace(spec, targets=(*spec.targets, Target(budget=Budget.of(flash_bytes=1_000))))
    child = fork()
    assert child.receive() == Ready()
    os.kill(child.pid, signal.SIGINT)  # a Ctrl-C in the terminal is left to the worker,
    os.kill(child.pid, signal.SIGTERM)  # and so is what a process manager sends to all processes of a service
    child.send(_job(tmp_path, spec, small_network()))
    messages = child.receive_rest()
    assert child.status() == 0
    assert messages[-1] == Done()
    reports = [message.report for message in messages if isinstance(message, TargetDone)]
    assert [(report.target_index, report.met) for report in reports] == [(0, True), (1, False)]
    progress = [message.progress for message in messages if isinstance(message, ProgressMade) and not message.progress.step]
    assert [(step.target_index, step.epoch, step.epochs) for step in progress] == [(0, 1, 2), (0, 2, 2)]
    kinds = [type(message) for message in messages]
    first_done = kinds.index(TargetDone)
    assert StageChanged in kinds[:first_done]
    assert StageChanged in kinds[first_done:]
    blobs = BlobStore(tmp_path.as_uri())
    for artifact in reports[0].artifacts:
        assert blobs.size(artifact.sha256) == artifact.size_bytes
        on_micro = artifact.format is ArtifactFormat.TFLM_SOURCE
        assert artifact.test_images == (500 if on_micro else drawn_test_images(2 * 1_797))
    assert max(artifact.accuracy for artifact in reports[0].artifacts) > 0.3


def test_the_child_dies_with_its_worker_in_mid_training(fork: Callable[[], Child], tmp_path: Path) -> None:
    long: Recipe = replace(QUICK, epochs=1_000)
    child = fork()
    child.send(_job(tmp_path, quick_job(BUDGET, recipe=long), small_network()))
    while not isinstance(child.receive(), ProgressMade):
        pass
    child.talk.shutdown(socket.SHUT_WR)
    assert child.status() == 1
    assert Done() not in child.receive_rest()


def test_the_child_dies_with_a_worker_that_leaves_messages_unread(fork: Callable[[], Child]) -> None:
    child = fork()
    assert select.select([child.talk], [], [], LOADED)[0]
    process = psutil.Process(child.pid)
    child.close()
    process.wait(LOADED)


def test_a_child_that_is_not_forked_ends_even_while_it_loads() -> None:
    process = subprocess.Popen([sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    time.sleep(1)  # past the interpreter's start, long before the frameworks are loaded
    said, _ = process.communicate(timeout=LOADED)
    assert process.returncode != 0
    assert said == b""


def test_a_machine_that_fails_says_what_it_lacks_and_not_where(fork: Callable[[], Child], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spec = replace(quick_job(BUDGET), dataset=_uploaded_digits(tmp_path))
    folders = Folders(cache=tmp_path / "file" / "cache")
    child = fork()
    child.send(encode(Job.of("job1", spec, small_network(), tmp_path.as_uri(), folders=folders)))
    told = child.receive_rest()[-1]
    assert isinstance(told, Failed)
    assert (told.reason, told.transient) == ("RESOURCES_MISSING", True)
    assert told.message.endswith("Received: Not a directory")
    assert str(tmp_path) not in told.message


def test_a_measurement_that_the_kernel_kills_for_memory_may_do_better_elsewhere(
    fork: Callable[[], Child], tmp_path: Path
) -> None:
    child = fork()
    child.send(_job(tmp_path, quick_job(BUDGET), small_network()))
    process = psutil.Process(child.pid)
    until(lambda: bool(process.children()), "something is measured")
    for measuring in process.children():
        measuring.kill()
    told = child.receive_rest()[-1]
    assert isinstance(told, Failed)
    assert (told.reason, told.transient) == ("RESOURCES_MISSING", True)
    assert "a measurement was killed" in told.message


def test_a_registered_set_comes_from_keras_or_the_job_says_where_to_put_it(
    fork: Callable[[], Child], keras_home: Path, tmp_path: Path
) -> None:
    graph = zoo.build("resnet20", (28, 28, 1), 10)
    job = _job(tmp_path, replace(quick_job(BUDGET, graph=graph), dataset="fashion_mnist"), graph)
    broken, without, having = fork(), fork(), fork()
    (keras_home / "datasets").touch()
    broken.send(job)
    of_disk = broken.receive_rest()[-1]
    (keras_home / "datasets").unlink()
    without.send(job)
    of_network = without.receive_rest()[-1]
    assert isinstance(of_disk, Failed)
    assert isinstance(of_network, Failed)
    assert (of_disk.reason, of_disk.transient) == ("RESOURCES_MISSING", True)
    assert (of_network.reason, of_network.transient) == ("DATASET_UNAVAILABLE", False)
    assert "put fashion_mnist.npz into the folder that SECATEUR_DATASETS_DIR names" in of_network.message

    downloaded = keras_home / "datasets" / "fashion-mnist"
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        labels, images = bytes(8) + bytes(range(10)) * (count // 10), bytes(16 + 784 * count)
        for kind, found in (("labels-idx1", labels), ("images-idx3", images)):
            (downloaded / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(found, 1))
    having.send(job)
    assert [type(having.receive()) for _ in range(2)] == [Ready, StageChanged]


def test_what_the_caller_did_wrong_is_told_from_a_defect(fork: Callable[[], Child], tmp_path: Path) -> None:
    graph = zoo.build("resnet20", (32, 32, 3), 10)
    misfit, defect = fork(), fork()
    misfit.send(_job(tmp_path, quick_job(BUDGET, graph=graph), graph))
    defect.send(b"nonsense\n")
    told = [child.receive_rest()[-1] for child in (misfit, defect)]
    assert isinstance(told[0], Failed)
    assert told[0].reason == "DATASET_SHAPE_MISMATCH"
    assert isinstance(told[1], Failed)
    assert told[1].reason == "INTERNAL"
    assert "nonsense" not in told[1].message
