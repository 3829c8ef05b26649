"""The reaper: finds jobs whose worker fell silent, jobs that took too long, and messages that the queue lost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

import structlog

from secateur.core.errors import Unavailable
from secateur.store import Store
from secateur.store.checkpoints import CheckpointStore
from secateur.store.reaper import RESEND_AFTER
from secateur.store.records import Reaped

_log = structlog.stdlib.get_logger(__name__)


class Reaper:
    """Recovers jobs. Call `reap` again and again.

    When the database comes back after it was away, or this process after a pause, leases have run out that their workers had
    no chance to renew. So no attempt is given up before rounds have succeeded for as long as a lease lasts.

    Args:
        store: Where the jobs are.
        blob_url: Where the checkpoints of their trainings are.
        lease_seconds: How long a lease lasts.
        reap_seconds: About how long it is from one call of `reap` to the next.
        resend_after: How long a sent message may go unclaimed.
    """

    def __init__(
        self,
        store: Store,
        *,
        blob_url: str,
        lease_seconds: float,
        reap_seconds: float,
        resend_after: timedelta = RESEND_AFTER,
    ) -> None:
        self._store = store
        self._blob_url = blob_url
        self._lease_seconds = lease_seconds
        # Not the lease alone: where rounds are further apart than that, each would be a pause and nothing ever recovered.
        self._pause_seconds = max(lease_seconds, 3 * reap_seconds)
        self._resend_after = resend_after
        self._begun: float | None = None
        self._latest = 0.0

    def reap(self) -> None:
        """Requeues or ends jobs whose lease has run out or which took too long; owes the queue anew what it seems to have lost.

        Raises:
            Unavailable: DATABASE_UNAVAILABLE.
        """
        started = time.monotonic()
        if started - self._latest > self._pause_seconds:  # the first round, or there was a pause
            self._begun = None
        give_up = self._begun is not None and started - self._begun >= self._lease_seconds
        try:
            reaped = self._round(give_up=give_up)
        except BaseException:
            self._begun = None
            raise
        self._latest = time.monotonic()
        if self._begun is None:
            self._begun = self._latest
        for job_id, state in reaped.ended.items():
            _log.warning("a worker fell silent", job=job_id, state=state.value)
        for job_id in reaped.expired:
            _log.warning("a job took too long", job=job_id)
        for job_id in reaped.resent:
            _log.warning("a queue message was lost; sending it again", job=job_id)
        self._clear(job_id for job_id, state in reaped.ended.items() if state.is_terminal)
        self._clear(reaped.expired)

    def _round(self, *, give_up: bool) -> Reaped:
        with self._store.unit_of_work() as work:
            reaped = work.jobs.reap(work.journal.now(), resend_after=self._resend_after, give_up=give_up)
            work.commit()
        return reaped

    def _clear(self, job_ids: Iterable[str]) -> None:
        """Removes checkpoints: the workers of these jobs may be gone. One that is not does the same when it notices."""
        for job_id in job_ids:
            with suppress(Unavailable):  # what stays goes with the garbage
                CheckpointStore(self._blob_url, job_id).clear()
