"""Runs of targets in this process, and everything that comes out of them."""

from __future__ import annotations

import hashlib

from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.reports import Progress
from secateur.core.specs import JobSpec
from secateur.workers.engine.checkpoints import Checkpoints
from secateur.workers.engine.pipeline import run_target


class Run:
    """One run of one target of a job, the first unless told otherwise."""

    def __init__(self, graph: LayerGraph, spec: JobSpec, checkpoints: Checkpoints | None = None, *, index: int = 0) -> None:
        self.blobs: dict[str, bytes] = {}
        self.steps: list[tuple[JobStage, str]] = []
        self.progress: list[Progress] = []
        self.report = run_target(
            graph,
            spec,
            index,
            put=self._put,
            checkpoints=checkpoints,
            on_stage=lambda stage, message: self.steps.append((stage, message)),
            on_progress=self._on_progress,
        )

    @property
    def stages(self) -> list[JobStage]:
        return [stage for stage, _ in self.steps]

    @property
    def messages(self) -> list[str]:
        return [message for _, message in self.steps]

    def _on_progress(self, progress: Progress) -> None:
        if not progress.step:  # how many reports come within an epoch depends on how busy the machine is
            self.progress.append(progress)

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest
