"""The whole service, as real processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from secateur.client import Client, Job, Target
from secateur.workers.engine.build import build_model
from tests.support.stack import Stack
from tests.support.training import small_network

TARGET = Target(profile="stm32f746", macs="20%")
DATASET = "digits"


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


@cache
def network() -> str:
    """A network that takes a quarter of the time of ResNet-20, as the JSON that Keras makes of it."""
    text: str = build_model(small_network()).to_json()
    return text


def submit(client: Client, *, epochs: int = 1, seed: int = 0) -> Job:
    """Submits a small job; another seed is other work."""
    return client.submit(network(), dataset=DATASET, targets=[TARGET], epochs=epochs, seed=seed)
