"""From a target to its report: plan, check the export, train, export, measure, hold against every limit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from secateur.core import datasets as registry
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import effective_budget, profile_of
from secateur.core.reports import ArtifactFormat, ArtifactReport, Measurement, Progress, TargetReport
from secateur.core.resources import Compliance, Resource
from secateur.core.specs import JobSpec
from secateur.workers.engine import measure
from secateur.workers.engine.build import ends_in_softmax
from secateur.workers.engine.datasets import Data, load
from secateur.workers.engine.export import export
from secateur.workers.engine.fitting import Candidate, Fitting
from secateur.workers.engine.train import Epoch, Training, train

StageListener = Callable[[JobStage, str], None]
ProgressListener = Callable[[Progress], None]


def run_target(
    graph: LayerGraph,
    spec: JobSpec,
    index: int,
    *,
    put: Callable[[bytes], str],
    on_stage: StageListener = lambda _stage, _message: None,
    on_progress: ProgressListener = lambda _: None,
) -> TargetReport:
    """Makes the model of one target of a job. The same arguments give the same plan and the same files on one machine.

    The untrained export is measured first, so a target that cannot be met costs seconds and trains nothing. A target that
    misses its accuracy floor keeps its files as the nearest point.

    Args:
        graph: The architecture that the spec names, unpruned.
        spec: The job.
        index: Which of its targets.
        put: Stores the bytes of an artifact and returns their SHA-256, hexadecimal.
        on_stage: Called when the target enters a stage, with one sentence for people.
        on_progress: Called after every epoch.

    Raises:
        InvalidArgument: If spec and graph do not fit each other; see `effective_budget` and `check_fits` in the core.
        FailedPrecondition: TRAINING_DIVERGED or TFLM_UNSUPPORTED.
    """
    registry.check_fits(graph, registry.get(spec.dataset))
    data = load(spec.dataset, seed=spec.seed, validation_fraction=spec.recipe.validation_fraction)
    run = _Run(graph, spec, index, data, put, on_stage, on_progress)
    return run.report()


@dataclass(frozen=True, slots=True)
class _Run:
    graph: LayerGraph
    spec: JobSpec
    index: int
    data: Data
    put: Callable[[bytes], str]
    on_stage: StageListener
    on_progress: ProgressListener

    def report(self) -> TargetReport:
        target = self.spec.targets[self.index]
        asked, profile = effective_budget(self.graph, target), profile_of(target)
        fitting = Fitting(self.graph, asked, self.spec.policy, profile, self.spec.seed, self.data.train)
        report = partial(TargetReport, self.index, unpruned_cost=fitting.unpruned_cost)
        while True:
            self.on_stage(JobStage.PLANNING, "Choosing widths and measuring the untrained export")
            candidate = fitting.next()
            tried = candidate.plans_tried
            if not candidate.fits:
                message = f"{_missed(candidate.compliance)} Nothing was trained; this is the nearest of {_plans(tried)}."
                return report(candidate.plan, compliance=candidate.compliance, message=message, plans_tried=tried)
            training = self._train(candidate)
            self.on_stage(JobStage.EXPORTING, "Converting to LiteRT float32 and int8")
            files = export(candidate.model, self.data.train.images)
            self.on_stage(JobStage.MEASURING, "Measuring both files on the test split")
            sizes = fitting.sizes_of(files[ArtifactFormat.LITERT_INT8])
            if not _holds(fitting.compliance(candidate.plan, sizes)) and fitting.tighten(
                candidate.plan, fitting.compliance(candidate.plan, sizes)
            ):
                continue
            measurements = (
                *_training_figures(training),
                *self._file_figures(candidate, files),
                *measure.describe_arena(sizes.arena),
                measure.measure_on_tflm(files[ArtifactFormat.LITERT_INT8], sizes.arena, self.data.test),
            )
            accuracy = measure.figure_of(measurements, "accuracy", ArtifactFormat.LITERT_INT8)
            compliance = fitting.compliance(candidate.plan, sizes, accuracy)
            return report(
                candidate.plan,
                compliance=compliance,
                artifacts=tuple(self._store(format, file, measurements) for format, file in files.items()),
                measurements=measurements,
                message="Every limit holds." if _holds(compliance) else f"{_missed(compliance)} The model is the nearest point.",
                plans_tried=tried,
            )
