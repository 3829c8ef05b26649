"""What an attempt writes while it holds its lease. A watchdog ends the attempt when the database is away for too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from secateur.core.errors import Unavailable
from secateur.core.jobs import JobStage, JobState
from secateur.core.reports import Progress, TargetReport
from secateur.store.journal import WORKER_LOST
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim
from secateur.workers.patience import patiently

log = structlog.get_logger(__name__)


class Lease:
    """A claim while its attempt runs. Leave the block when it has ended.

    What is written waits for a database that is away, until it is back or the lease is lost. Time is counted on this machine
    from before each renewal was sent, so this side gives up no later than the other. It does so in a thread of its own: a call
    to a database that neither answers nor refuses would not return in time.

    Args:
        ledger: Where it is renewed.
        claim: The claim, just made.
        seconds: How long it holds without a renewal.
        on_lost: Ends the attempt, from another thread.
    """

    def __init__(self, ledger: JobLedger, claim: Claim, *, seconds: float, on_lost: Callable[[], None]) -> None:
        self._ledger = ledger
        self._claim = claim
        self._seconds = seconds
        self._on_lost = on_lost
        self._deadline = time.monotonic() + seconds
        self._over = threading.Event()
        self._lost = False
        self._watchdog = threading.Thread(target=self._watch, name=f"lease-{claim.job_id}", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether it could not be renewed in time."""
        return self._lost

    def renew(self) -> bool:
        """Renews it, or leaves that to the next call if the database cannot be reached.

        Returns:
            Whether somebody asked for the job to be cancelled, as far as that is known.

        Raises:
            Conflict: LEASE_LOST, if somebody else has the job.
        """
        started = time.monotonic()
        try:
            cancelled = self._ledger.heartbeat(self._claim, lease_seconds=self._seconds)
        except Unavailable:
            log.warning("heartbeat failed", job=self._claim.job_id, attempt=self._claim.attempt)
            return False
        self._deadline = started + self._seconds
        return cancelled

    def report(self, *, stage: JobStage | None = None, message: str, progress: Progress | None = None) -> None:
        """Adds an event, once. For what it and the others that write raise, see `secateur.store.ledger.JobLedger`.

        Raises:
            Unavailable: DATABASE_UNAVAILABLE, once the lease is lost. Until then all of them wait for the database.
        """

        def call(again: bool) -> None:
            self._ledger.report(self._claim, stage=stage, message=message, progress=progress, again=again)

        patiently(call, until=self._over)

    def settle_target(self, report: TargetReport) -> None:
        """Keeps how a target came out."""
        patiently(lambda _: self._ledger.settle_target(self._claim, report), until=self._over)

    def finish(self, state: JobState, *, reason: str = "", message: str = "") -> None:
        """Ends the job."""
        patiently(lambda _: self._ledger.finish(self._claim, state, reason=reason, message=message), until=self._over)

    def release(self, message: str, *, reason: str = WORKER_LOST) -> None:
        """Gives the job back unfinished."""
        patiently(lambda _: self._ledger.release(self._claim, message, reason=reason), until=self._over)

    def __enter__(self) -> Self:
        self._watchdog.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._watchdog.join()

    def _watch(self) -> None:
        while (left := self._deadline - time.monotonic()) > 0:
            if self._over.wait(left):
                return
        self._lost = True
        log.error("lease lost: the database was away for too long", job=self._claim.job_id, attempt=self._claim.attempt)
        self._over.set()
        self._on_lost()
