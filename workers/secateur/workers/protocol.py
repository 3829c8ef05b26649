"""Messages between a worker and its child process: one JSON object per line, over the child's stdin and stdout.

The worker sends one `Job`. The child sends `Ready` once its frameworks are loaded, then, for the job, `StageChanged` and
`ProgressMade` as it goes, one `TargetDone` per target, and at last `Done` or `Failed`. The child ends when its stdin does.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from secateur.core import graph as graphs
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.reports import Progress, TargetReport
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders of the worker's machine.

    Args:
        datasets: Where `{name}.npz` of a registered data set is looked for; None for nowhere.
        cache: Where uploaded data sets are kept; None if they cannot be had.
    """

    datasets: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Worker to child: the work.

    Args:
        job_id: The job, whose checkpoints an attempt takes up.
        spec: What to do.
        graph: The architecture that the spec names, as `LayerGraph.to_dict` gives it.
        blob_url: Blob store that artifacts and checkpoints go to.
        targets: Indices of the targets to work on; the others were settled by an earlier attempt.
        folders: Folders of the machine.
    """

    job_id: str
    spec: JobSpec
    graph: dict[str, Any]
    blob_url: str
    targets: tuple[int, ...]
    folders: Folders

    @classmethod
    def of(
        cls,
        job_id: str,
        spec: JobSpec,
        graph: LayerGraph,
        blob_url: str,
        *,
        settled: Collection[int] = (),
        folders: Folders = Folders(),
    ) -> Job:
        """Makes the message of a job whose `settled` targets need no more work."""
        targets = tuple(index for index in range(len(spec.targets)) if index not in settled)
        return cls(job_id, spec, graph.to_dict(), blob_url, targets, folders)

    def layer_graph(self) -> LayerGraph:
        """Returns the architecture, checked again."""
        return graphs.from_data(self.graph)


@dataclass(frozen=True, slots=True)
class Ready:
    """Child to worker: the frameworks are loaded; a job would start at once."""


@dataclass(frozen=True, slots=True)
class StageChanged:
    """Child to worker: a target enters a stage. `message` is one sentence for people."""

    stage: JobStage
    message: str


@dataclass(frozen=True, slots=True)
class ProgressMade:
    """Child to worker: an epoch of training is done, or a part of a long one."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class TargetDone:
    """Child to worker: a target has come to an end; its artifacts are in the blob store."""

    report: TargetReport


@dataclass(frozen=True, slots=True)
class Done:
    """Child to worker: every target has been reported. The last message."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Child to worker: the job cannot be finished. The last message.

    Args:
        reason: UPPER_SNAKE_CASE; "INTERNAL" for a defect, whose details are on the child's stderr.
        message: One sentence for people.
        transient: Whether another attempt may do better, since something was missing that may be back.
    """

    reason: str
    message: str
    transient: bool = False


Message = Job | Ready | StageChanged | ProgressMade | TargetDone | Done | Failed

_KINDS: Final[dict[str, type[Message]]] = {
    "job": Job,
    "ready": Ready,
    "stage": StageChanged,
    "progress": ProgressMade,
    "target": TargetDone,
    "done": Done,
    "error": Failed,
}
_TYPES: Final = {kind: name for name, kind in _KINDS.items()}


def encode(message: Message) -> bytes:
    """Returns a message as one line, its end included."""
    data = {"type": _TYPES[type(message)], **to_data(message)}
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Returns the message that a line holds.

    Raises:
        ValueError: If the line is no message.
    """
    try:
        data = json.loads(line)
        kind = _KINDS[data.pop("type")]
        return from_data(kind, data)
    except Exception as error:  # cattrs, json and a missing type each raise their own
        raise ValueError(f"This line is no message between worker and child. Received: {line[:200]!r}") from error
