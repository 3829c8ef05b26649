"""Fixtures of the client's tests, and what several of them ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur.client import Client, Retry, Target, Zoo
from tests.support.datasets import save_images
from tests.unit.client.remote.service import Service, serving

FAST = Retry(first_delay=0.001, max_delay=0.01, first_contact=3.0, total=2.0)
"""Tries again at once, and gives up long before a call times out: which of the two ends it is certain."""
RESNET = Zoo("resnet20", (8, 8, 1), 10)
TARGET = Target("stm32f746", flash="64KiB", parameters="50%")
KERAS_JSON = json.dumps({"class_name": "Sequential", "config": {"layers": [], "padding": "x" * 3_000_000}})
"""As far as the client can tell, a model; longer than one chunk of an upload."""


@pytest.fixture
def remote() -> Iterator[Service]:
    """A remote service on a port."""
    service = Service()
    with serving(service):
        yield service


@pytest.fixture
def client(remote: Service) -> Iterator[Client]:
    """A blocking client of the remote service."""
    with Client(remote.address, timeout=60.0, retry=FAST) as client:
        yield client


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of images of two classes, 13 each."""
    for name in ("dog", "cat"):
        save_images(tmp_path / "pictures" / name, 13)
    return tmp_path / "pictures"
