"""The child process of a worker: `python -m secateur.workers.child`. Runs one job and ends.

It is started ahead of the job, so that the frameworks are loaded when one comes. It dies with its worker: when stdin ends, so
does the process, wherever it stands. Database and broker are the worker's business; the child sees the blob store alone.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import BinaryIO, NoReturn

from secateur.core.errors import SecateurError
from secateur.core.jobs import JobStage
from secateur.core.reports import Progress
from secateur.store.blobs import BlobStore
from secateur.store.checkpoints import CheckpointStore
from secateur.workers.cache import DatasetCache
from secateur.workers.protocol import Done, Failed, Job, Message, ProgressMade, Ready, StageChanged, TargetDone, decode, encode

_log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Serves one job, then ends the process without the frameworks' slow tear-down."""
    pipe = _take_stdout()
    # A Ctrl-C in the terminal reaches this process too; the worker decides what becomes of the job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_until_the_worker_is_gone, args=(lines,), daemon=True).start()

    def send(message: Message) -> None:
        pipe.write(encode(message))
        pipe.flush()

    # Seconds of framework imports: only now that the end of stdin is being watched.
    from secateur.workers.engine import pipeline  # noqa: F401

    send(Ready())
    send(_serve(lines.get(), send))
    os._exit(0)


def _serve(line: bytes, send: Callable[[Message], None]) -> Done | Failed:
    """Runs the job that `line` holds and returns the last message to send."""
    try:
        _run(decode(line), send)
    except SecateurError as error:
        return Failed(error.reason, error.message, internal=False)
    except Exception:
        _log.exception("The job failed")
        return Failed("INTERNAL", "The worker failed on this job; its log says why.", internal=True)
    return Done()


def _run(job: Message, send: Callable[[Message], None]) -> None:
    from secateur.workers.engine.datasets import DatasetSources
    from secateur.workers.engine.pipeline import run_target

    if not isinstance(job, Job):
        raise TypeError(f"A child takes a job. Received: {job}")
    graph, blobs, checkpoints = job.layer_graph(), BlobStore(job.blob_url), CheckpointStore(job.blob_url, job.job_id)
    cache = DatasetCache(blobs, job.folders.cache).path if job.folders.cache else None
    sources = DatasetSources(job.folders.datasets, cache)
    for index in job.targets:

        def on_stage(stage: JobStage, message: str, index: int = index) -> None:
            send(StageChanged(index, stage, message))

        def on_progress(progress: Progress) -> None:
            send(ProgressMade(progress))

        report = run_target(
            graph,
            job.spec,
            index,
            put=blobs.put,
            checkpoints=checkpoints,
            sources=sources,
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
    with os.fdopen(0, "rb", closefd=False) as stdin:
        for line in stdin:
            lines.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
