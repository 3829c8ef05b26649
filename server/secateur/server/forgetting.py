"""Forgets the idempotency keys of requests that nobody repeats any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from secateur.store import Store

FORGET_SECONDS: Final = 600.0
"""Time between two rounds."""

_BATCH: Final = 500
"""Keys forgotten in one transaction, so that none holds up others for long."""


class Forgetter:
    """Forgets request ids.

    Args:
        store: Where they are.
        window: How long they are remembered, at least.
    """

    def __init__(self, store: Store, window: timedelta) -> None:
        self._store = store
        self._window = window

    def forget(self) -> None:
        """Forgets the request ids that were used longer ago than the window."""
        forgotten = _BATCH
        while forgotten == _BATCH:
            with self._store.unit_of_work() as work:
                forgotten = work.requests.forget(datetime.now(UTC) - self._window, _BATCH)
                work.commit()
