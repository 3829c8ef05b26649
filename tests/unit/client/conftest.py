"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secateur.client import Client, Retry
from tests.unit.client.remote.service import Service, serving

FAST = Retry(first_delay=0.001, max_delay=0.01, first_contact=3.0, total=2.0)
"""Tries again at once, and gives up long before a call times out: which of the two ends it is certain."""


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
