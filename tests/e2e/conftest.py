"""The whole service, as real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secateur.client import Client, Job, Target, Zoo
from tests.support.stack import Stack

NETWORK = Zoo("resnet20", input_shape=(8, 8, 1), classes=10)
TARGET = Target(profile="stm32f746", macs="20%")
DATASET = "digits"

Submit = Callable[..., Job]


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the tests that break nothing."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not started."""
    stack = Stack(tmp_path)
    try:
        yield stack
    finally:
        stack.down()


def submit(client: Client, *, epochs: int = 1, seed: int = 0) -> Job:
    """Submits a small job; another seed is other work."""
    return client.submit(NETWORK, dataset=DATASET, targets=[TARGET], epochs=epochs, seed=seed)
