"""Writes the audit log: a log line at once, and a row soon after, without keeping the call waiting."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

import structlog

from secateur.core.errors import Unavailable
from secateur.store import Store
from secateur.store.records import AuditRecord

MAX_WAITING: Final = 100_000
"""Most records that wait for the database; beyond that only the log lines are left."""

FLUSH_SECONDS: Final = 0.5
"""Time between writes, and so the most that a crash takes from the table; the log lines are already out."""

_BATCH: Final = 1_000

_log = structlog.stdlib.get_logger(__name__)


class AuditLog:
    """Collects records and writes them in batches.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[AuditRecord] = deque()
        self._flushing = Lock()

    def record(self, record: AuditRecord) -> None:
        """Logs a record, and keeps it for the next write."""
        _log.info(
            "audit",
            token=record.token,
            project=record.project,
            method=record.method,
            resource=record.resource,
            code=record.code,
        )
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(record)
        else:
            _log.error("the audit log is full: the database has been away for too long, this call is only in the log lines")

    def flush(self) -> None:
        """Writes what waits. What cannot be written goes on waiting.

        Raises:
            Unavailable: DATABASE_UNAVAILABLE.
        """
        with self._flushing:  # the last write of a server may meet one that its loop has begun
            while batch := [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]:
                try:
                    with self._store.unit_of_work() as work:
                        work.audit.add(batch)
                        work.commit()
                except Exception:
                    self._waiting.extendleft(reversed(batch))
                    raise

    def close(self) -> None:
        """Writes what waits, as far as the database is there."""
        try:
            self.flush()
        except Unavailable:
            _log.error("the audit log cannot be written: these calls are only in the log lines", calls=len(self._waiting))
