"""A child process whose training is small: `python -m tests.chaos.child`.

Pipes, blobs and checkpoints are the real ones; instead of training a network it hashes. What comes out is decided by the job's
spec alone, however often it was interrupted, so the end can be checked.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any, Final

from secateur.core.cost import cost_of
from secateur.core.errors import FailedPrecondition
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import plan
from secateur.core.reports import ArtifactFormat, ArtifactReport, Progress, TargetReport
from secateur.core.resources import Budget, Compliance, Resource
from secateur.core.specs import JobSpec
from secateur.store.checkpoints import CheckpointStore
from secateur.workers import child

EPOCH_SECONDS: Final = 0.1

REFUSED, UNLUCKY, MISSED = 7, 8, 9
"""What becomes of a job, by the last digit of its seed: the user is to blame; the first attempt fails for a reason that
passes; a limit is missed. Any other succeeds."""


def artifacts(spec: JobSpec, index: int) -> dict[ArtifactFormat, bytes]:
    """Returns the files that a target must come out with."""
    state = ""
    for epoch in range(1, spec.recipe.epochs + 1):
        state = _trained(state, spec, index, epoch)
    return _files(state)


def run_target(
    graph: LayerGraph,
    spec: JobSpec,
    index: int,
    *,
    put: Callable[[bytes], str],
    checkpoints: CheckpointStore,
    on_stage: Callable[[JobStage, str], None],
    on_progress: Callable[[Progress], None],
    **_sources: Any,
) -> TargetReport:
    """Does what the engine does, in small; see `secateur.workers.engine.pipeline.run_target`."""
    fate = spec.seed % 10
    if fate == REFUSED:
        raise FailedPrecondition("TRAINING_DIVERGED", "The loss is not a number; lower the learning rate")
    chosen = plan(graph, Budget.fractions(parameters=0.5), seed=spec.seed)
    key = hashlib.sha256(f"{spec.seed} {index}".encode()).hexdigest()
    kept = checkpoints.read(key)
    done, state = json.loads(kept) if kept else (0, "")
    if fate == UNLUCKY and kept is None and index == 0:
        checkpoints.write(key, b'[0, ""]')
        raise ConnectionError("The storage is away")
    with tempfile.NamedTemporaryFile(delete=False) as left:  # as TensorFlow does
        left.write(b"left behind")
    on_stage(JobStage.TRAINING, f"Training target {index}")
    epochs = spec.recipe.epochs
    for epoch in range(done + 1, epochs + 1):
        time.sleep(EPOCH_SECONDS)
        state = _trained(state, spec, index, epoch)
        checkpoints.write(key, json.dumps([epoch, state]).encode())
        on_progress(Progress(index, epoch, epochs, loss=1 / epoch, accuracy=0.9, eta_seconds=0.0))
    on_stage(JobStage.EXPORTING, f"Exporting target {index}")
    files = tuple(ArtifactReport(kind, put(data), len(data), 0.9, 360) for kind, data in _files(state).items())
    limit = 0.5 if fate == MISSED else 2.0
    flash = files[-1].size_bytes
    return TargetReport(
        target_index=index,
        plan=chosen,
        unpruned_cost=cost_of(graph),
        compliance=(Compliance(Resource.FLASH_BYTES, flash * limit, flash, "bytes of the int8 file"),),
        artifacts=files,
        message="Every limit is met" if fate != MISSED else "flash_bytes is missed",
    )


def _trained(state: str, spec: JobSpec, index: int, epoch: int) -> str:
    return hashlib.sha256(f"{state} {spec.seed} {index} {epoch}".encode()).hexdigest()


def _files(state: str) -> dict[ArtifactFormat, bytes]:
    return {
        ArtifactFormat.LITERT_FLOAT32: state.encode() * 4_000,
        ArtifactFormat.LITERT_INT8: state.encode() * 1_000,
    }


def load_engine() -> child.RunTarget:
    return run_target


if __name__ == "__main__":
    child.main(load_engine)
