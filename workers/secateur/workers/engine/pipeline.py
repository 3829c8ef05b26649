"""From a target to its report: plan, check the export, train, export, measure, hold against every limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from secateur.core import datasets as registry
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import effective_budget
from secateur.core.reports import ArtifactFormat, ArtifactReport, Measurement, Progress, TargetReport
from secateur.core.resources import Compliance
from secateur.core.specs import JobSpec
from secateur.workers.engine.build import ends_in_softmax
from secateur.workers.engine.datasets import Data, load
from secateur.workers.engine.export import export
from secateur.workers.engine.fitting import Candidate, Fitting
from secateur.workers.engine.measure import arena_figures, figure_of, measure_file, tflm_accuracy, training_figures
from secateur.workers.engine.train import Epoch, train

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
class _Outcome:
    """A trained candidate and everything that was measured of it."""

    files: dict[ArtifactFormat, bytes]
    measurements: tuple[Measurement, ...]
    compliance: tuple[Compliance, ...]

    @property
    def met(self) -> bool:
        return all(limit.met for limit in self.compliance)


@dataclass(frozen=True, slots=True)
class _Run:
    """One target on its way to its report; the fields are the arguments of `run_target` and the loaded data."""

    graph: LayerGraph
    spec: JobSpec
    index: int
    data: Data
    put: Callable[[bytes], str]
    on_stage: StageListener
    on_progress: ProgressListener

    def report(self) -> TargetReport:
        target = self.spec.targets[self.index]
        asked, profile = effective_budget(self.graph, target), target.device_profile
        fitting = Fitting(self.graph, asked, self.spec.policy, profile, self.spec.seed, self.data.train)
        while True:
            self.on_stage(JobStage.PLANNING, "Choosing widths and measuring the untrained export")
            candidate = fitting.next()
            if not candidate.fits:
                return self._untrained(candidate, fitting)
            outcome = self._train_and_measure(candidate, fitting)
            if outcome.met or not fitting.tighten(candidate.plan, outcome.compliance):
                return self._trained(candidate, outcome, fitting)

    def _train_and_measure(self, candidate: Candidate, fitting: Fitting) -> _Outcome:
        self.on_stage(JobStage.TRAINING, f"Training for {self.spec.recipe.epochs} epochs")
        training = train(
            candidate.model,
            self.data,
            self.spec.recipe,
            seed=self.spec.seed,
            probabilities=ends_in_softmax(self.graph),
            on_epoch=lambda epoch: self.on_progress(_progress(self.index, epoch)),
        )
        self.on_stage(JobStage.EXPORTING, "Converting to LiteRT float32 and int8")
        files = export(candidate.model, self.data.train.images)
        self.on_stage(JobStage.MEASURING, "Measuring both files")
        int8, test = files[ArtifactFormat.LITERT_INT8], self.data.test
        sizes = fitting.sizes_of(int8)
        reference = np.asarray(candidate.model.predict(test.images, verbose=0))
        measurements = (
            *training_figures(training),
            *(figure for kind, file in files.items() for figure in measure_file(file, kind, test, reference)),
            *arena_figures(sizes.arena),
            tflm_accuracy(int8, sizes.arena, test),
            *fitting.latency_figures(candidate.plan),
        )
        accuracy = figure_of(measurements, "accuracy", ArtifactFormat.LITERT_INT8)
        return _Outcome(files, measurements, fitting.compliance(candidate.plan, sizes, accuracy))

    def _trained(self, candidate: Candidate, outcome: _Outcome, fitting: Fitting) -> TargetReport:
        artifacts = tuple(
            ArtifactReport(
                format=kind,
                sha256=self.put(file),
                size_bytes=len(file),
                accuracy=figure_of(outcome.measurements, "accuracy", kind),
                test_images=len(self.data.test),
            )
            for kind, file in outcome.files.items()
        )
        return TargetReport(
            target_index=self.index,
            plan=candidate.plan,
            unpruned_cost=fitting.unpruned_cost,
            compliance=outcome.compliance,
            artifacts=artifacts,
            measurements=outcome.measurements,
            message="Every limit holds." if outcome.met else f"{_worst(outcome.compliance)} This model is the nearest point.",
            plans_tried=candidate.plans_tried,
        )

    def _untrained(self, candidate: Candidate, fitting: Fitting) -> TargetReport:
        reach = "No pruned network comes nearer" if candidate.is_smallest else f"{candidate.plans_tried} plans came no nearer"
        return TargetReport(
            target_index=self.index,
            plan=candidate.plan,
            unpruned_cost=fitting.unpruned_cost,
            compliance=candidate.compliance,
            message=f"{_worst(candidate.compliance)} {reach}, so nothing was trained.",
            plans_tried=candidate.plans_tried,
        )


def _worst(compliance: tuple[Compliance, ...]) -> str:
    """Says by how much the limit that binds is missed."""
    limit = min(compliance, key=lambda one: one.margin)
    bound = "at least" if limit.resource.is_floor else "at most"
    return f"{limit.resource} is {_figure(limit.achieved)}, but was to be {bound} {_figure(limit.asked)} ({limit.method})."


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def _progress(index: int, epoch: Epoch) -> Progress:
    return Progress(index, epoch.number, epoch.of, epoch.loss, epoch.accuracy, epoch.eta_seconds)
