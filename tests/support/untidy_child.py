"""A child process that leaves temporary files: `python -m tests.support.untidy_child`."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from secateur.core.errors import FailedPrecondition
from secateur.core.jobs import JobStage
from secateur.workers import child

LEFT = b"left behind"


def load_engine() -> child.RunTarget:
    """Returns what makes a file, says so, and with an odd seed goes on until it is killed."""
    return _run


def _run(_graph: Any, spec: Any, _index: int, *, on_stage: Any, **_others: Any) -> Any:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(LEFT)
    on_stage(JobStage.TRAINING, file.name)
    while spec.seed % 2:
        time.sleep(1)
    raise FailedPrecondition("TEST", "over")


if __name__ == "__main__":
    child.main(load_engine)
