from __future__ import annotations

import json
from dataclasses import replace

import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, zoo
from secateur.core.jobs import JobStage
from secateur.core.reports import ArtifactFormat, TargetReport
from secateur.core.resources import Budget, Resource
from secateur.core.serial import from_data, to_data
from secateur.workers.engine.datasets import Data
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


def test_the_report_survives_the_way_to_the_store(finished: Run) -> None:
    assert from_data(TargetReport, json.loads(json.dumps(to_data(finished.report)))) == finished.report


def test_the_same_job_gives_the_same_files(finished: Run, graph: LayerGraph) -> None:
    assert Run(graph, quick_job(BUDGET)).blobs == finished.blobs


def test_an_infeasible_target_trains_nothing_and_names_the_limit(graph: LayerGraph) -> None:
    run = Run(graph, quick_job(Budget.of(flash_bytes=1_000, parameters=5_000)))
    assert run.stages == [JobStage.PLANNING]
    assert not run.report.met
    assert not run.report.artifacts
    assert not run.blobs
    assert run.report.plan is not None
    assert "flash_bytes" in run.report.message
    assert "1,000" in run.report.message


def test_a_missed_accuracy_keeps_the_model_as_the_nearest_point(graph: LayerGraph) -> None:
    run = Run(graph, quick_job(Budget.of(flash_bytes=6_000, accuracy=1.0), recipe=replace(QUICK, epochs=1)))
    assert not run.report.met
    assert {item.sha256 for item in run.report.artifacts} == set(run.blobs)
    assert run.report.message.startswith("accuracy is ")
    assert [limit.resource for limit in run.report.compliance if not limit.met] == [Resource.ACCURACY]


def test_a_network_for_other_images_is_refused() -> None:
    graph = zoo.build("resnet20", (32, 32, 3), 10)
    with pytest.raises(InvalidArgument) as refusal:
        Run(graph, quick_job(Budget.of(flash_bytes=100_000), graph=graph))
    assert refusal.value.reason == "DATASET_SHAPE_MISMATCH"
