"""The Celery worker: its one task claims a job, runs it in a child process and settles it."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import Any

import structlog
from celery import Celery, signals

from secateur.core.errors import Unavailable
from secateur.core.jobs import COMPRESS_TASK, RETRY_SECONDS
from secateur.store.ledger import JobLedger
from secateur.store.logs import configure_logs
from secateur.store.records import Claim
from secateur.store.startup import check_blobs, check_migrated, starting, warn_of_misspelt
from secateur.store.unit_of_work import Store
from secateur.store.wakeups import Wakeups
from secateur.workers.attempt import run_attempt
from secateur.workers.child import RESOURCES_MISSING
from secateur.workers.children import CHILD_MODULE, Nursery, no_room
from secateur.workers.patience import patiently
from secateur.workers.settings import WorkerSettings

log = structlog.get_logger(__name__)


class Worker:
    """Claims jobs and runs each in a child process, one at a time.

    A message from the broker only says that a job may wait: which one is run, the database decides.

    Args:
        settings: Where the store is, and the limits of an attempt.
        ledger: Claims, reports and settlements.
        nursery: Where the child processes come from.
    """

    def __init__(self, settings: WorkerSettings, ledger: JobLedger, nursery: Nursery) -> None:
        self._settings = settings
        self._ledger = ledger
        self._nursery = nursery
        self._stopping = threading.Event()

    def compress(self, job_id: str) -> None:
        """Runs jobs until none waits that this worker may take. So a duplicated message is harmless, and a lost one late.

        Args:
            job_id: The job that the message was sent for. Somebody else may have it by now, or others may go before it.
        """
        log.info("woken", job=job_id)
        try:
            while (claim := patiently(self._claim, until=self._stopping)) is not None:
                self._run(claim)
        except Unavailable:
            log.warning("stopped while the database was away")

    def _claim(self, again: bool) -> Claim | None:  # noqa: ARG002 - the ledger gives back what an earlier call has claimed
        if self._stopping.is_set():
            return None
        return self._ledger.claim_next(
            worker=self._settings.worker_name,
            lease_seconds=self._settings.lease_seconds,
            needs=self._settings.worker_queues,
        )

    def _run(self, claim: Claim) -> None:
        log.info("attempt started", job=claim.job_id, attempt=claim.attempt)
        try:
            child = self._nursery.child()
        except (OSError, RuntimeError) as error:  # RuntimeError is what a thread says that cannot be started
            message = no_room(getattr(error, "strerror", None) or error)
            patiently(lambda _: self._ledger.release(claim, message, reason=RESOURCES_MISSING), until=self._stopping)
            self._rest()
            raise
        run_attempt(claim, child, ledger=self._ledger, settings=self._settings, stopping=self._stopping)
        log.info("attempt ended", job=claim.job_id, attempt=claim.attempt)
        if child.was_never_born:
            self._rest()

    def _rest(self) -> None:
        """Leaves the queue to others for a while: every job that waits would lose its attempts here within seconds."""
        self._stopping.wait(RETRY_SECONDS)

    def stop(self, **_signal: Any) -> None:
        """Lets a running attempt go back to the queue."""
        self._stopping.set()


def create_app(broker_url: str, worker: Worker) -> Celery:
    """Builds the Celery application around a worker.

    Args:
        broker_url: Redis, as Celery writes it.
        worker: What the task calls.
    """
    app = Celery("secateur", broker=broker_url)
    app.conf.update(
        broker_read_url=broker_url,  # CELERY_BROKER_URL, which may be another program's, has no say
        broker_write_url=broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # however long the broker is away
        task_acks_late=True,
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
    )
    app.task(worker.compress, name=COMPRESS_TASK)
    # Celery waits for running tasks before it exits; this makes the running one end soon.
    signals.worker_shutting_down.connect(worker.stop, weak=False)
    return app


def main(child_module: str = CHILD_MODULE) -> None:
    """Runs a worker until it is told to stop. Entry point of `secateur-worker`.

    Args:
        child_module: What its child processes run.
    """
    about = "Runs the jobs of a Secateur server, one at a time. Its settings are environment variables, SECATEUR_*."
    argparse.ArgumentParser(prog="secateur-worker", description=about).parse_args()
    configure_logs()
    with starting("secateur-worker"):
        settings = WorkerSettings()
        warn_of_misspelt(WorkerSettings)
        check_migrated(settings.database_url)
        check_blobs(settings.blob_url)
    store = Store(settings.database_url, timeouts=settings.database_timeouts, wakeups=Wakeups(settings.redis_url))
    ledger = JobLedger(store, max_running=settings.max_running_jobs, max_run_seconds=settings.max_run_seconds)
    with Nursery(settings.worker_device, child_module) as nursery:
        worker = Worker(settings, ledger, nursery)
        app = create_app(settings.celery_broker_url, worker)
        # Not by Celery's command line: that takes its application and broker from APP, BROKER_URL and the like, if it finds
        # such, and its status says nothing.
        consumer = app.Worker(
            hostname=f"celery@{settings.worker_name}",  # by which `secateur-admin workers` knows it
            queues=",".join(settings.worker_queues),
            # One job at a time: a thread, because the parent only waits, and the main thread must stay responsive.
            pool_cls="threads",
            concurrency=1,
            without_gossip=True,
            without_mingle=True,
            loglevel="WARNING",
            quiet=True,
        )
        consumer.start()
        sys.exit(consumer.exitcode)
