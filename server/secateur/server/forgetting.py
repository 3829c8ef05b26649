"""Forgets what nobody asks for any more: the idempotency keys of old requests, and old rows of the audit log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from secateur.store import Store
from secateur.store.unit_of_work import UnitOfWork

FORGET_SECONDS: Final = 600.0
"""Time between two rounds."""

_BATCH: Final = 500
"""Rows forgotten in one transaction, so that none holds up others for long."""


class Forgetter:
    """Forgets request ids and audit records.

    Args:
        store: Where they are.
        request_ids: How long request ids are remembered, at least.
        audit: How long audit records are kept, at least; None for ever.
        stopping: Set when the server stops: what is left waits for another time.
    """

    def __init__(self, store: Store, *, request_ids: timedelta, audit: timedelta | None, stopping: threading.Event) -> None:
        self._store = store
        self._request_ids = request_ids
        self._audit = audit
        self._stopping = stopping

    def forget(self) -> None:
        """Forgets what is older than it has to be."""
        _in_batches(self._store, lambda work: work.requests.forget(work.now() - self._request_ids, _BATCH), self._stopping)
        if self._audit is not None:
            prune_audit(self._store, self._audit, self._stopping)


def prune_audit(store: Store, older_than: timedelta, stopping: threading.Event | None = None) -> int:
    """Deletes the audit records of an age, and returns how many there were."""
    return _in_batches(store, lambda work: work.audit.prune(work.now() - older_than, _BATCH), stopping)


def _in_batches(store: Store, forget: Callable[[UnitOfWork], int], stopping: threading.Event | None) -> int:
    """Forgets in one transaction after the other until a batch is not full, or it is time to stop; returns how many it was."""
    total = 0
    while True:
        with store.unit_of_work() as work:
            forgotten = forget(work)
            work.commit()
        total += forgotten
        if forgotten < _BATCH or (stopping is not None and stopping.is_set()):
            return total
