"""From a target to its report: plan, check the export, train, export, measure, hold against every limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage
from secateur.core.planning import effective_budget
from secateur.core.reports import ArtifactFormat, ArtifactReport, Measurement, OperatorProfile, TargetReport
from secateur.core.resources import Compliance
from secateur.core.specs import JobSpec, PlanMode
from secateur.workers.engine.checkpoints import Checkpoints, Memory
from secateur.workers.engine.datasets import DatasetSources, load_for
from secateur.workers.engine.delivery import Files, files_of, measure, quantize
from secateur.workers.engine.export import REPRESENTATIVE_IMAGES, export
from secateur.workers.engine.fitting import Candidate, Fitting
from secateur.workers.engine.hybrid import Hybrid
from secateur.workers.engine.iterative import Iterative
from secateur.workers.engine.measure import TFLM_IMAGES, figure_of, training_figures
from secateur.workers.engine.proposals import Planned, ProgressListener, Proposal, Source, StageListener, Task
from secateur.workers.engine.search import Search


def run_target(
    graph: LayerGraph,
    spec: JobSpec,
    index: int,
    *,
    put: Callable[[bytes], str],
    checkpoints: Checkpoints | None = None,
    sources: DatasetSources | None = None,
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
        checkpoints: Where trainings are kept; a run that was interrupted and is called again with what it had kept comes to
            the same end. None keeps them for this call.
        sources: Where the data set is read from; None leaves registered ones that Keras has or downloads.
        on_stage: Called when the target enters a stage, with one sentence for people.
        on_progress: Called after every epoch, and every few seconds of a long one.

    Raises:
        InvalidArgument: If spec and graph do not fit each other; see `effective_budget` and `check_fits` in the core.
        FailedPrecondition: TRAINING_DIVERGED or TFLM_UNSUPPORTED; for its data set also what `datasets.load` raises.
    """
    data = load_for(graph, spec, sources or DatasetSources())
    task = Task(graph, spec, index, data, checkpoints or Memory(), on_stage, on_progress)
    return _Run(task, Fitting(task, effective_budget(graph, spec.targets[index])), put).report()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A trained candidate and everything that was measured of it."""

    files: Files
    measurements: tuple[Measurement, ...]
    operators: tuple[OperatorProfile, ...]
    compliance: tuple[Compliance, ...]

    @property
    def met(self) -> bool:
        return all(limit.met for limit in self.compliance)


@dataclass(frozen=True, slots=True)
class _Run:
    """One target on its way to its report.

    Args:
        task: The target.
        fitting: Its limits.
        put: Stores the bytes of an artifact and returns their SHA-256.
    """

    task: Task
    fitting: Fitting
    put: Callable[[bytes], str]

    def report(self) -> TargetReport:
        self.task.on_stage(JobStage.PLANNING, "Choosing widths and measuring the untrained export")
        *drafts, source = self._sources()
        for draft in drafts:
            candidate = self.fitting.next(draft)
            if not candidate.fits:
                return self._untrained(candidate)
        while True:
            candidate = self.fitting.next(source)
            if not candidate.fits:
                return self._untrained(candidate)
            outcome = self._train_and_measure(candidate.proposal)
            if outcome.met or not self.fitting.tighten(candidate.proposal.plan, outcome.compliance):
                return self._trained(candidate, outcome)
            self.task.on_stage(JobStage.PLANNING, "Choosing narrower widths, as a file became larger than its untrained export")

    def _sources(self) -> tuple[Source, ...]:
        """Returns where plans come from: the last makes what is trained, those before show in seconds whether anything fits."""
        policy = self.task.spec.policy
        if policy.mode is PlanMode.HYBRID:
            return Planned(self.task), Iterative(self.task) if policy.hybrid.rounds > 1 else Hybrid(self.task)
        return (Search(self.task, policy.search, self.fitting) if policy.search else Planned(self.task),)

    def _train_and_measure(self, proposal: Proposal) -> _Outcome:
        task, model, plan = self.task, proposal.model, proposal.plan
        work = "Fine-tuning" if plan.indices else "Training"
        task.on_stage(JobStage.TRAINING, f"{work} for {proposal.recipe.epochs} epochs")
        training = task.train(model, proposal.recipe, start=plan.digest)
        task.on_stage(JobStage.EXPORTING, "Converting to LiteRT, C++ source and Keras")
        exported = export(model, task.data.train.first(REPRESENTATIVE_IMAGES))
        quantized = quantize(task, plan, model, exported.files[ArtifactFormat.LITERT_INT8], proposal.recipe)
        sizes = self.fitting.sizes_of(quantized.file)
        files = files_of(model, exported, quantized, sizes.arena)
        task.on_stage(JobStage.MEASURING, "Measuring every file")
        figures, operators = measure(files, model, plan, sizes.arena, task.data.test)
        measurements = (
            *proposal.measurements,
            *training_figures(training),
            *figures,
            *self.fitting.latency_figures(plan),
        )
        accuracy = figure_of(measurements, "accuracy", ArtifactFormat.LITERT_INT8)
        compliance = self.fitting.compliance(plan, sizes, accuracy)
        self.fitting.trained(compliance)
        return _Outcome(files, measurements, operators, compliance)

    def _trained(self, candidate: Candidate, outcome: _Outcome) -> TargetReport:
        verdict = "Every limit holds." if outcome.met else f"{_worst(outcome.compliance)} This model is the nearest point."
        tests = len(self.task.data.test)
        artifacts = tuple(
            ArtifactReport(
                format=kind,
                sha256=self.put(file),
                size_bytes=len(file),
                accuracy=figure_of(outcome.measurements, "accuracy", kind),
                test_images=min(TFLM_IMAGES, tests) if kind is ArtifactFormat.TFLM_SOURCE else tests,
            )
            for kind, file in outcome.files.by_format().items()
        )
        return TargetReport(
            target_index=self.task.index,
            plan=candidate.proposal.plan,
            unpruned_cost=cost_of(self.task.graph),
            compliance=outcome.compliance,
            artifacts=artifacts,
            measurements=outcome.measurements,
            message=" ".join(filter(None, (verdict, outcome.files.quantized.note, candidate.proposal.note))),
            plans_tried=len(self.fitting.attempts),
            candidates=candidate.proposal.candidates,
            operator_profiles=outcome.operators,
            attempts=self.fitting.attempts,
        )

    def _untrained(self, candidate: Candidate) -> TargetReport:
        reach = (
            "No pruned network comes nearer"
            if candidate.proposal.is_smallest
            else f"{len(self.fitting.attempts)} plans came no nearer"
        )
        return TargetReport(
            target_index=self.task.index,
            plan=candidate.proposal.plan,
            unpruned_cost=cost_of(self.task.graph),
            compliance=candidate.compliance,
            message=f"{_worst(candidate.compliance)} {reach}, so nothing was trained.",
            plans_tried=len(self.fitting.attempts),
            candidates=candidate.proposal.candidates,
            attempts=self.fitting.attempts,
        )


def _worst(compliance: tuple[Compliance, ...]) -> str:
    """Says by how much the limit that binds is missed."""
    limit = min(compliance, key=lambda one: one.margin)
    bound = "at least" if limit.resource.is_floor else "at most"
    return f"{limit.resource} is {_figure(limit.achieved)}, but was to be {bound} {_figure(limit.asked)} ({limit.method})."


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"
