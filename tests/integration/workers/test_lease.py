"""The lease of an attempt against a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.workers.lease import Lease
from tests.support.store import a_graph, claim, create, store_with_network


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_with_network(f"sqlite:///{tmp_path}/secateur.db") as store:
        yield store


def test_a_lease_holds_for_as_long_as_it_is_renewed(store: Store) -> None:
    held = claim(store, create(store, a_graph()))
    lost = threading.Event()
    with Lease(JobLedger(store), held, seconds=2.0, on_lost=lost.set) as lease:
        until = time.monotonic() + 2.3
        while time.monotonic() < until:
            assert not lease.renew()
            time.sleep(0.1)
        assert not lost.is_set()
