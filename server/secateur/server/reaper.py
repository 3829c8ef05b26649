"""The reaper: finds jobs whose worker fell silent and messages that the queue lost."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from secateur.store import Store

_log = structlog.stdlib.get_logger(__name__)


class Reaper:
    """Recovers jobs.

    Args:
        store: Where the jobs are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def reap(self) -> None:
        """Requeues or fails jobs whose lease has run out, and owes the queue anew what it seems to have lost."""
        with self._store.unit_of_work() as work:
            reaped = work.jobs.reap(datetime.now(UTC))
            work.commit()
        for job_id, state in reaped.ended.items():
            _log.warning("a worker fell silent", job=job_id, state=state.value)
        for job_id in reaped.resent:
            _log.warning("a queue message was lost; sending it again", job=job_id)
