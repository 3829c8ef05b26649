"""One attempt of a job, seen from the parent: hand it to a child, relay what it says, keep the lease, settle."""

from __future__ import annotations

import threading
import time

import structlog

from secateur.core.errors import Conflict
from secateur.core.jobs import JobState
from secateur.core.reports import TargetReport
from secateur.store.checkpoints import CheckpointStore
from secateur.store.ledger import JobLedger
from secateur.store.records import Claim
from secateur.workers.children import Child
from secateur.workers.protocol import Done, Failed, Folders, Job, Message, ProgressMade, StageChanged, TargetDone
from secateur.workers.settings import WorkerSettings

log = structlog.get_logger(__name__)


def run_attempt(claim: Claim, child: Child, *, ledger: JobLedger, settings: WorkerSettings, stopping: threading.Event) -> None:
    """Runs one claimed attempt to its end and settles it. Never outlives its lease.

    Args:
        claim: The right to run the attempt.
        child: A child that has no job yet; it is used up.
        ledger: Where the attempt reports; refuses every write once the claim is stale.
        settings: Poll interval, lease and time limit.
        stopping: Set when the worker shuts down; the job then goes back to the queue.
    """
    settled = {report.target_index for report in claim.settled}
    try:
        folders = Folders(settings.datasets_dir, settings.cache_dir)
        child.send(Job.of(claim.job_id, claim.spec, claim.graph, settings.blob_url, settled=settled, folders=folders))
        ended = _relay(claim, child, ledger=ledger, settings=settings, stopping=stopping)
    except Conflict as conflict:
        log.warning("attempt abandoned", job=claim.job_id, attempt=claim.attempt, reason=conflict.reason)
        ended = False
    finally:
        child.kill()
    if ended:
        CheckpointStore(settings.blob_url, claim.job_id).clear()


def _relay(claim: Claim, child: Child, *, ledger: JobLedger, settings: WorkerSettings, stopping: threading.Event) -> bool:
    """Returns whether the job has come to its end; else it goes back to the queue."""
    started = next_beat = time.monotonic()
    reports = list(claim.settled)
    while True:
        now = time.monotonic()
        if now >= next_beat:
            next_beat = now + settings.poll_seconds
            if ledger.heartbeat(claim, lease_seconds=settings.lease_seconds):
                ledger.finish(claim, JobState.CANCELLED, message="Cancelled while running")
                return True
            if stopping.is_set():
                ledger.release(claim, "The worker is shutting down; the job goes back to the queue")
                return False
            if now - started > settings.max_run_seconds:
                limit = f"{settings.max_run_seconds:g} s"
                ledger.finish(
                    claim, JobState.EXPIRED, reason="RUN_TIME_EXCEEDED", message=f"Ran longer than the limit of {limit}"
                )
                return True
        try:
            message = child.receive(timeout=max(0.0, next_beat - time.monotonic()))
        except TimeoutError:
            continue
        except EOFError as death:
            ledger.release(claim, f"Attempt {claim.attempt} was lost: {death}")
            return False
        if _handle(message, claim, ledger, reports):
            return True


def _handle(message: Message, claim: Claim, ledger: JobLedger, reports: list[TargetReport]) -> bool:
    """Writes down one message; returns whether it was the last."""
    match message:
        case StageChanged(stage=stage, message=text):
            ledger.report(claim, stage=stage, message=text)
        case ProgressMade(progress=progress):
            done = f", step {progress.step} of {progress.steps}" if progress.step else ""
            ledger.report(claim, message=f"Epoch {progress.epoch} of {progress.epochs}{done}", progress=progress)
        case TargetDone(report=report):
            ledger.settle_target(claim, report)
            reports.append(report)
        case Done():
            missed = [report for report in reports if not report.met]
            state = JobState.INFEASIBLE if missed else JobState.SUCCEEDED
            ledger.finish(claim, state, message="; ".join(report.message for report in missed))
            return True
        case Failed(reason=reason, message=text):
            ledger.finish(claim, JobState.FAILED, reason=reason, message=text)
            return True
        case _:
            raise TypeError(f"A child never sends this. Received: {message}")
    return False
