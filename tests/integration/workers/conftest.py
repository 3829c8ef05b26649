"""One nursery for the tests whose children train."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secateur.workers.children import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A nursery that has loaded the frameworks."""
    with Nursery() as nursery:
        first = nursery.child()
        assert first.pid  # it waits for the fork
        first.kill()
        yield nursery
