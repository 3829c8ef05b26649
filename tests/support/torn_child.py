"""A child process whose last words are no message: killed while it wrote, as by the kernel when memory is short, or garbled."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from secateur.core.jobs import JobStage
from secateur.workers import child
from secateur.workers.protocol import StageChanged, encode


def load_engine() -> child.RunTarget:
    """Returns what sends a message and half of another, and then is gone.

    With an odd seed it sends a line that is no message, then one that is, and goes on.
    """
    return _run


def _run(_graph: Any, spec: Any, _index: int, *, on_stage: Any, **_others: Any) -> Any:
    if spec.seed % 2:
        os.write(0, b"no message\n" + encode(StageChanged(JobStage.TRAINING, "too late")))  # the socket that stdout was
        threading.Event().wait()
    on_stage(JobStage.TRAINING, "whole")
    os.write(0, encode(StageChanged(JobStage.TRAINING, "half"))[:-9])
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    child.main(load_engine)
