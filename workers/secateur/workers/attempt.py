"""One attempt of a job, seen from the parent: hand it to a child, relay what it says, keep the lease, settle."""

from __future__ import annotations

import math
import threading
import time

import structlog

from secateur.core.errors import Conflict, SecateurError, Unavailable
from secateur.core.jobs import JobState
from secateur.core.reports import TargetReport
from secateur.store.checkpoints import CheckpointStore
from secateur.store.ledger import JobLedger
from secateur.store.reaper import RUN_TIME_EXCEEDED
from secateur.store.records import Claim
from secateur.workers.children import Child
from secateur.workers.lease import Lease
from secateur.workers.patience import patiently
from secateur.workers.protocol import Done, Failed, Folders, Job, Message, ProgressMade, StageChanged, TargetDone
from secateur.workers.settings import WorkerSettings

log = structlog.get_logger(__name__)


def run_attempt(claim: Claim, child: Child, *, ledger: JobLedger, settings: WorkerSettings, stopping: threading.Event) -> None:
    """Runs one claimed attempt to its end and settles it. Never outlives its lease.

    A database that is away for less than the lease is waited for. After that the child is killed, and once the database is
    back the job goes back to the queue: that does not count as a lost attempt.

    Args:
        claim: The right to run the attempt.
        child: A child that has no job yet; it is used up.
        ledger: Where the attempt reports; refuses every write once the claim is stale.
        settings: Poll interval and lease.
        stopping: Set when the worker shuts down; the job then goes back to the queue.
    """
    lease = Lease(ledger, claim, seconds=settings.lease_seconds, on_lost=child.kill)
    try:
        with lease:
            folders = Folders(settings.datasets_dir, settings.cache_dir)
            settled = {report.target_index for report in claim.settled}
            child.send(Job.of(claim.job_id, claim.spec, claim.graph, settings.blob_url, settled=settled, folders=folders))
            _relay(claim, child, lease, settings, stopping)
    except Conflict as conflict:
        log.warning("attempt abandoned", job=claim.job_id, attempt=claim.attempt, reason=conflict.reason)
    except Unavailable:  # the lease is lost: until then the database is waited for
        pass
    finally:
        child.kill()
    try:
        if lease.is_lost:
            _give_back(claim, ledger, stopping)
        # Whoever ended the job: another attempt may have cleared what this one's child has written since.
        if patiently(lambda _: ledger.has_ended(claim.job_id), until=stopping):
            CheckpointStore(settings.blob_url, claim.job_id).clear()
    except Unavailable as error:  # what is left of the attempt its lease gives back, and of its files goes with the garbage
        log.warning("stopped before all was settled", job=claim.job_id, attempt=claim.attempt, reason=error.reason)


def _give_back(claim: Claim, ledger: JobLedger, stopping: threading.Event) -> None:
    message = "The database was away for longer than the lease; the job goes back to the queue"
    try:
        patiently(lambda _: ledger.release(claim, message, reason=""), until=stopping)
    except Conflict:  # the reaper was faster
        return


def _relay(claim: Claim, child: Child, lease: Lease, settings: WorkerSettings, stopping: threading.Event) -> None:
    """Returns once the job has come to its end or has gone back to the queue, or the lease is lost."""
    started = next_beat = time.monotonic()
    limit = math.inf if claim.run_seconds is None else claim.run_seconds
    reports = list(claim.settled)
    while not lease.is_lost:
        now = time.monotonic()
        if now >= next_beat:
            next_beat = now + settings.poll_seconds
            if lease.renew():
                return lease.finish(JobState.CANCELLED, message="Cancelled while running")
            if stopping.is_set():
                return lease.release("The worker is shutting down; the job goes back to the queue", reason="")
            if now - started > limit:
                message = f"Ran longer than the limit of {limit:g} s"
                return lease.finish(JobState.EXPIRED, reason=RUN_TIME_EXCEEDED, message=message)
        try:
            received = child.receive(timeout=max(0.0, next_beat - time.monotonic()))
        except TimeoutError:
            continue
        except EOFError as death:
            return None if lease.is_lost else lease.release(f"Attempt {claim.attempt} was lost: {death}")
        try:
            if _handle(received, lease, reports):
                return None
        except SecateurError:
            raise
        except Exception:  # another attempt would say the same
            log.exception("what an attempt says cannot be written down", job=claim.job_id, attempt=claim.attempt)
            message = "The worker could not write down what came of this job; its log says why."
            return lease.finish(JobState.FAILED, reason="INTERNAL", message=message)
    return None


def _handle(message: Message, lease: Lease, reports: list[TargetReport]) -> bool:
    """Writes down one message; returns whether it was the last."""
    match message:
        case StageChanged(stage=stage, message=text):
            lease.report(stage=stage, message=text)
        case ProgressMade(progress=progress):
            done = f", step {progress.step} of {progress.steps}" if progress.step else ""
            lease.report(message=f"Epoch {progress.epoch} of {progress.epochs}{done}", progress=progress)
        case TargetDone(report=report):
            lease.settle_target(report)
            reports.append(report)
        case Done():
            missed = [report for report in reports if not report.met]
            state = JobState.INFEASIBLE if missed else JobState.SUCCEEDED
            lease.finish(state, message="; ".join(report.message for report in missed))
            return True
        case Failed(reason=reason, message=text, transient=True):
            lease.release(text, reason=reason)
            return True
        case Failed(reason=reason, message=text):
            lease.finish(JobState.FAILED, reason=reason, message=text)
            return True
        case _:
            raise TypeError(f"A child never sends this. Received: {message}")
    return False
