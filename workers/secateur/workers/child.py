"""The child process of a worker. Runs one job and ends.

It is forked with the frameworks loaded, see `secateur.workers.nursery`, or run as `python -m secateur.workers.child`, which
loads them first. It dies with its worker: when stdin ends, so does the process, wherever it stands. Database and broker are the
worker's business; the child sees the blob store alone.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Final, NoReturn

from secateur.core.errors import SecateurError, Unavailable
from secateur.core.jobs import JobStage
from secateur.core.reports import Progress, TargetReport
from secateur.store.blobs import BlobStore
from secateur.store.checkpoints import CheckpointStore
from secateur.workers.cache import DatasetCache
from secateur.workers.protocol import Done, Failed, Job, Message, ProgressMade, Ready, StageChanged, TargetDone, decode, encode

RESOURCES_MISSING: Final = "RESOURCES_MISSING"
"""Reason of a job that failed because disk, memory, network or blob store did, at every attempt."""

RunTarget = Callable[..., TargetReport]
"""What runs one target, as `secateur.workers.engine.pipeline.run_target` does."""

_log = logging.getLogger(__name__)


def ignore_signals() -> None:
    """Leaves it to the worker what becomes of the job.

    A Ctrl-C, and the SIGTERM that systemd and honcho end a service with, reach all of its processes at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main(load: Callable[[], RunTarget]) -> NoReturn:
    """Serves one job, then ends the process without the frameworks' slow tear-down.

    Args:
        load: Returns what runs a target. It may take long: a worker that goes meanwhile is noticed.
    """
    pipe = _take_stdout()
    ignore_signals()
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_until_the_worker_is_gone, args=(lines,), daemon=True).start()

    def send(message: Message) -> None:
        pipe.write(encode(message))
        pipe.flush()

    run_target = load()
    send(Ready())
    send(_serve(lines.get(), send, run_target))
    os._exit(0)


def load_engine() -> RunTarget:
    """Returns what runs a target for real. Imports the frameworks, which takes seconds."""
    from secateur.workers.engine.datasets import DatasetSources
    from secateur.workers.engine.pipeline import run_target

    def run(*job: Any, datasets: Path | None, cache: DatasetCache | None, **listeners: Any) -> TargetReport:
        return run_target(*job, sources=DatasetSources(datasets, cache.path if cache else None), **listeners)

    return run


def _serve(line: bytes, send: Callable[[Message], None], run_target: RunTarget) -> Done | Failed:
    """Runs the job that `line` holds and returns the last message to send."""
    try:
        _run(decode(line), send, run_target)
    except SecateurError as error:
        return Failed(error.reason, error.message, transient=isinstance(error, Unavailable))
    except Exception as error:
        what = _failure_of_machine(error)
        if not what:
            _log.exception("The job failed")
            return Failed("INTERNAL", "The worker failed on this job; its log says why.")
        _log.exception("The machine or its storage failed")
        message = f"The worker's machine or its storage failed; its log says how. Received: {what}"
        return Failed(RESOURCES_MISSING, message, transient=True)
    return Done()


def _failure_of_machine(error: Exception) -> str:
    """Returns what disk, memory, network or blob store failed with, without paths; empty for a defect."""
    match error:
        case OSError() | MemoryError():
            return getattr(error, "strerror", None) or type(error).__name__
        case subprocess.CalledProcessError(returncode=code) if code == -signal.SIGKILL:
            return "a measurement was killed, as the kernel does where memory runs out"
        case subprocess.TimeoutExpired(timeout=seconds):
            return f"a measurement took more than {seconds:g} s"
    return ""


def _run(job: Message, send: Callable[[Message], None], run_target: RunTarget) -> None:
    if not isinstance(job, Job):
        raise TypeError(f"A child takes a job. Received: {job}")
    graph, blobs, checkpoints = job.layer_graph(), BlobStore(job.blob_url), CheckpointStore(job.blob_url, job.job_id)
    cache = DatasetCache(blobs, job.folders.cache) if job.folders.cache else None

    def on_stage(stage: JobStage, message: str) -> None:
        send(StageChanged(stage, message))

    def on_progress(progress: Progress) -> None:
        send(ProgressMade(progress))

    for index in job.targets:
        report = run_target(
            graph,
            job.spec,
            index,
            put=blobs.put,
            checkpoints=checkpoints,
            datasets=job.folders.datasets,
            cache=cache,
            on_stage=on_stage,
            on_progress=on_progress,
        )
        send(TargetDone(report))


def _take_stdout() -> BinaryIO:
    """Returns the pipe to the worker and points file descriptor 1 at stderr, so that stray prints cannot corrupt messages."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def _read_until_the_worker_is_gone(lines: SimpleQueue[bytes]) -> NoReturn:
    try:
        with os.fdopen(0, "rb", closefd=False) as stdin:
            for line in stdin:
                lines.put(line)
    finally:  # a worker that goes with messages unread shows as an error
        os._exit(1)


if __name__ == "__main__":
    main(load_engine)
