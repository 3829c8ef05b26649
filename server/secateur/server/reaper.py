"""The reaper: finds jobs whose worker fell silent, jobs that took too long, and messages that the queue lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from secateur.core.errors import Unavailable
from secateur.store import Store
from secateur.store.checkpoints import CheckpointStore
from secateur.store.reaper import RESEND_AFTER

_MAX_ENDED: Final = 1_000
"""Most jobs whose checkpoints wait to be removed; those of others go with the garbage."""

_log = structlog.stdlib.get_logger(__name__)


class Reaper:
    """Recovers jobs. Call `reap` again and again, and `clear` in another thread: a blob store may hang.

    When the database comes back after it was away, this process after a pause, or the machine after a sleep, leases have run
    out that their workers had no chance to renew. So no attempt is given up before rounds have succeeded for as long as a lease
    lasts.

    Args:
        store: Where the jobs are.
        blob_url: Where the checkpoints of their trainings are.
        lease_seconds: How long a lease lasts.
        reap_seconds: About how long it is from one call of `reap` to the next.
        stopping: Set when the server stops: `clear` then ends before the next job.
        resend_after: How long a sent message may go unclaimed.
    """

    def __init__(
        self,
        store: Store,
        *,
        blob_url: str,
        lease_seconds: float,
        reap_seconds: float,
        stopping: threading.Event,
        resend_after: timedelta = RESEND_AFTER,
    ) -> None:
        self._store = store
        self._blob_url = blob_url
        self._lease_seconds = lease_seconds
        # Not the lease alone: where rounds are further apart than that, each would be a pause and nothing ever recovered.
        self._pause_seconds = max(lease_seconds, 3 * reap_seconds)
        self._stopping = stopping
        self._resend_after = resend_after
        self._ended: deque[str] = deque(maxlen=_MAX_ENDED)
        self._begun: float | None = None
        self._latest: tuple[float, datetime] | None = None

    def reap(self) -> None:
        """Requeues or ends jobs whose lease has run out or which took too long; owes the queue anew what it seems to have lost.

        Raises:
            Unavailable: DATABASE_UNAVAILABLE.
        """
        try:
            with self._store.unit_of_work() as work:
                now = work.journal.now()
                reaped = work.jobs.reap(now, resend_after=self._resend_after, give_up=self._may_give_up(now))
                work.commit()
        except BaseException:
            self._begun = None
            raise
        if self._begun is None:
            self._begun = time.monotonic()
        for job_id, state in reaped.ended.items():
            _log.warning("a worker fell silent", job=job_id, state=state.value)
        for job_id in reaped.expired:
            _log.warning("a job took too long", job=job_id)
        for job_id in reaped.resent:
            _log.warning("no worker has taken a job; sending its queue message again", job=job_id)
        self._ended.extend(job_id for job_id, state in reaped.ended.items() if state.is_terminal)
        self._ended.extend(reaped.expired)

    def clear(self) -> None:
        """Removes the checkpoints of jobs that `reap` has ended: their workers may be gone. One that is not does the same."""
        while self._ended and not self._stopping.is_set():
            with suppress(Unavailable):  # what stays goes with the garbage
                CheckpointStore(self._blob_url, self._ended.popleft()).clear()

    def _may_give_up(self, now: datetime) -> bool:
        """Notes when this round is, and returns whether every worker had its chance to renew its lease.

        Leases go by the database's time, which may leap: it is set, or the machine slept while `monotonic` stood still. Workers
        renew early, so a leap of up to half a lease takes it from nobody.
        """
        own = time.monotonic()
        if self._latest is not None:
            passed, shown = own - self._latest[0], (now - self._latest[1]).total_seconds()
            if passed > self._pause_seconds or abs(shown - passed) > self._lease_seconds / 2:
                self._begun = None
        self._latest = own, now
        return self._begun is not None and own - self._begun >= self._lease_seconds
