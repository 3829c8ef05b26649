from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, zoo
from secateur.core.jobs import JobStage
from secateur.core.reports import ArtifactFormat, Progress, TargetReport
from secateur.core.resources import Budget, Resource
from secateur.core.serial import from_data, to_data
from secateur.core.specs import ScratchBudget
from secateur.store.checkpoints import CheckpointStore
from secateur.workers.engine.c_source import read_c_source
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.pipeline import run_target
from secateur.workers.engine.tflm import classify_on_tflm
from tests.support.runs import Run
from tests.support.training import QUICK, quick_job

BUDGET = Budget.of(flash_bytes=12_000, ram_bytes=4_000, macs=300_000, latency_ms=2, accuracy=0.8)


@pytest.fixture(scope="module")
def finished(graph: LayerGraph) -> Run:
    return Run(graph, quick_job(BUDGET))


def test_a_reachable_target_ends_with_a_model_that_keeps_every_limit(finished: Run) -> None:
    report = finished.report
    assert report.met, report.message
    assert report.plan is not None
    assert report.plan.cost.flash_bytes < report.unpruned_cost.flash_bytes
    assert finished.stages == [JobStage.PLANNING, JobStage.TRAINING, JobStage.EXPORTING, JobStage.MEASURING]
    assert [(step.epoch, step.epochs) for step in finished.progress] == [(n, QUICK.epochs) for n in range(1, QUICK.epochs + 1)]


def test_every_limit_of_budget_and_profile_is_answered_with_its_method(finished: Run) -> None:
    answers = {limit.resource: limit for limit in finished.report.compliance}
    assert set(answers) == {limit.resource for limit in BUDGET.limits}
    assert answers[Resource.MACS].method == "counted from the layer graph"
    assert answers[Resource.LATENCY_MS].method == "predicted: roofline of the profile"
    assert answers[Resource.ACCURACY].method == "int8 file on the test split"
    int8 = next(item for item in finished.report.artifacts if item.format is ArtifactFormat.LITERT_INT8)
    assert answers[Resource.FLASH_BYTES].achieved == int8.size_bytes
    assert answers[Resource.ACCURACY].achieved == int8.accuracy


def test_stored_files_are_the_ones_reported(finished: Run, data: Data) -> None:
    assert {item.format for item in finished.report.artifacts} == set(ArtifactFormat)
    for item in finished.report.artifacts:
        assert len(finished.blobs[item.sha256]) == item.size_bytes
        assert item.test_images == len(data.test)
    int8 = next(item for item in finished.report.artifacts if item.format is ArtifactFormat.LITERT_INT8)
    arena = next(limit for limit in finished.report.compliance if limit.resource is Resource.RAM_BYTES)
    labels = classify_on_tflm(finished.blobs[int8.sha256], data.test.images, arena_bytes=int(arena.achieved))
    assert abs((labels == data.test.labels).mean() - int8.accuracy) <= 1 / len(data.test)


def test_every_file_is_scored_and_compared_with_the_network(finished: Run) -> None:
    report = finished.report
    figures = {(figure.name, figure.format): figure.value for figure in report.measurements}
    for item in report.artifacts:
        assert figures["accuracy", item.format] == item.accuracy
        assert figures["keras_agreement", item.format] > 0.95
    best = min(finished.progress, key=lambda step: step.validation_loss)
    assert figures["validation_accuracy", None] == best.accuracy
    latency = next(limit.achieved for limit in report.compliance if limit.resource is Resource.LATENCY_MS)
    assert figures["device_latency_ms", ArtifactFormat.LITERT_INT8] == latency
    assert figures["keras_max_difference", ArtifactFormat.KERAS] < 1e-5
    assert figures["keras_max_difference", ArtifactFormat.LITERT_FLOAT32] < 1e-3
    assert {profile.format for profile in report.operator_profiles} == {
        ArtifactFormat.LITERT_FLOAT32,
        ArtifactFormat.LITERT_FLOAT16,
        ArtifactFormat.LITERT_INT8,
    }
    blobs = {item.format: finished.blobs[item.sha256] for item in report.artifacts}
    assert read_c_source(blobs[ArtifactFormat.TFLM_SOURCE]) == blobs[ArtifactFormat.LITERT_INT8]


def test_the_last_attempt_is_what_is_reported(finished: Run) -> None:
    report = finished.report
    assert report.plan is not None
    assert report.plans_tried == len(report.attempts)
    *_, last = report.attempts
    assert (last.plan, last.trained, last.tightened) == (report.plan.digest, True, ())
    assert last.compliance == report.compliance


def test_the_report_survives_the_way_to_the_store(finished: Run) -> None:
    assert from_data(TargetReport, json.loads(json.dumps(to_data(finished.report)))) == finished.report


def test_an_interrupted_run_goes_on_and_gives_the_same_files(finished: Run, graph: LayerGraph, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.epoch == 3 and not progress.step:
            raise InterruptedError

    def leave_off(stage: JobStage, message: str) -> None:
        if stage is JobStage.EXPORTING:
            raise InterruptedError

    kept = CheckpointStore(tmp_path.as_uri(), "job")
    with pytest.raises(InterruptedError):
        run_target(graph, quick_job(BUDGET), 0, put=lambda _: "", checkpoints=kept, on_progress=interrupt)
    rest = Run(graph, quick_job(BUDGET), kept)
    assert [step.epoch for step in rest.progress] == list(range(3, QUICK.epochs + 1))
    assert rest.blobs == finished.blobs
    again: list[Progress] = []
    with pytest.raises(InterruptedError):
        run_target(
            graph, quick_job(BUDGET), 0, put=lambda _: "", checkpoints=kept, on_stage=leave_off, on_progress=again.append
        )
    assert again == [], "what has been trained to its end is not trained again"
    kept.clear()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_unpruned_network_teaches_and_a_pruned_one_may_train_for_as_many_flops(graph: LayerGraph) -> None:
    recipe = replace(QUICK, epochs=2, distillation=0.5, scratch=ScratchBudget.COMPUTE)
    run = Run(graph, quick_job(Budget.fractions(macs=0.4), recipe=recipe))
    assert run.report.plan is not None
    longer = round(2 * run.report.unpruned_cost.macs / run.report.plan.cost.macs)
    assert [message for message in run.messages if message.startswith("Training")][:2] == [
        f"Training for {longer} epochs",
        "Training the unpruned network for 2 epochs",
    ]
    assert [step.epochs for step in run.progress] == [2] * 2 + [longer] * longer
    untaught = Run(graph, quick_job(Budget.fractions(macs=0.4), recipe=replace(recipe, distillation=0.0)))
    assert untaught.report.plan == run.report.plan
    assert untaught.blobs.keys().isdisjoint(run.blobs), "the teacher's answers change the weights"


def test_an_infeasible_target_trains_nothing_and_names_the_limit(graph: LayerGraph) -> None:
    run = Run(graph, quick_job(Budget.of(flash_bytes=1_000, parameters=5_000)))
    assert run.stages == [JobStage.PLANNING]
    assert not run.report.met
    assert not run.report.artifacts
    assert not run.blobs
    assert run.report.plan is not None
    message = run.report.message
    assert message.startswith("flash_bytes is ")
    assert "but was to be at most 1,000 (bytes of the int8 file). No pruned network comes nearer, so nothing was " in message


def test_a_missed_accuracy_keeps_the_model_as_the_nearest_point(graph: LayerGraph) -> None:
    run = Run(graph, quick_job(Budget.of(flash_bytes=6_000, accuracy=1.0), recipe=replace(QUICK, epochs=1)))
    assert not run.report.met
    assert {item.sha256 for item in run.report.artifacts} == set(run.blobs)
    assert run.report.message.startswith("accuracy is ")
    assert "but was to be at least 1 (int8 file on the test split). This model is the nearest point." in run.report.message
    assert [limit.resource for limit in run.report.compliance if not limit.met] == [Resource.ACCURACY]


def test_a_network_for_other_images_is_refused() -> None:
    graph = zoo.build("resnet20", (32, 32, 3), 10)
    with pytest.raises(InvalidArgument) as refusal:
        Run(graph, quick_job(Budget.of(flash_bytes=100_000), graph=graph))
    assert refusal.value.reason == "DATASET_SHAPE_MISMATCH"
