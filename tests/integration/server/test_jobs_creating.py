"""Creating jobs, and refusing to."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import func, select

from secateur.core import recipes
from secateur.core.specs import OptimizerKind, Schedule, ScratchBudget
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.database import make_engine
from secateur.store.tables import Base
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans
from secateur.v1 import resources_pb2 as resources
from secateur.v1.dataset_service_pb2 import Augmentation
from tests.support.postgres import ON_BOTH_DATABASES
from tests.support.server import Api, Refusal, limit, refusal, target

pytestmark = ON_BOTH_DATABASES


def rows(settings: ServerSettings) -> dict[str, int]:
    engine = make_engine(settings.database_url)
    with engine.connect() as connection:
        counts = {
            name: connection.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if name != "audit_log"  # which tells of what was refused, too
        }
    engine.dispose()
    return counts


def refused(api: Api, settings: ServerSettings, **fields: Any) -> Refusal:
    """Refuses a job, and proves that nothing of it is left behind."""
    job = api.job(**fields)
    before = rows(settings)
    found = refusal(lambda: api.jobs.CreateJob(pb.CreateJobRequest(parent=api.parent, job=job)))
    assert rows(settings) == before
    return found


def test_a_job_is_created_with_everything_filled_in(api: Api) -> None:
    job = api.create_job(display_name="Fit it", labels={"site": "a"}, seed=7)

    assert job.name.startswith(f"{api.parent}/jobs/")
    assert (job.display_name, dict(job.labels), job.seed) == ("Fit it", {"site": "a"}, 7)
    assert (job.state, job.attempt, job.last_sequence) == (pb.JOB_STATE_QUEUED, 0, 1)
    assert (job.policy.mode, job.policy.round_to, job.policy.step, job.policy.min_width) == (plans.PLAN_MODE_DEVICE, 1, 0.1, 4)
    assert (job.recipe.name, job.recipe.epochs) == ("fast", recipes.resolve().epochs)
    assert list(job.targets) == [target(limit(fraction=0.2), profile="stm32f746")]
    assert job.create_time.seconds > 0
    assert job.etag
    seen = api.get_job(job)
    assert seen.queue_position >= 1
    seen.ClearField("queue_position")  # not worth counting for everybody who creates a job
    seen.ClearField("estimated_start_time")
    seen.ClearField("queue")
    assert seen == job


def test_a_job_that_waits_names_the_queue_that_a_worker_has_to_take(api: Api) -> None:
    assert api.get_job(api.create_job(recipe=pb.Recipe(name="fast", epochs=1))).queue == "cpu"
    long = api.create_job(recipe=pb.Recipe(name="fast", epochs=10_000))
    assert api.get_job(long).queue == "gpu"
    api.jobs.CancelJob(pb.CancelJobRequest(name=long.name))
    assert api.get_job(long).queue == ""


def test_a_job_says_who_goes_first_and_takes_no_longer_than_the_deployment_allows(api: Api, settings: ServerSettings) -> None:
    job = api.create_job(
        priority=pb.JOB_PRIORITY_HIGH, max_pending_time=Duration(seconds=60), max_run_time=Duration(seconds=10**9), seed=8
    )
    assert (job.priority, job.max_pending_time.seconds) == (pb.JOB_PRIORITY_HIGH, 60)
    assert job.max_run_time.seconds == settings.max_run_seconds
    refused = refusal(lambda: api.create_job(max_run_time=Duration(), seed=9))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["job.max_run_time"])


def test_a_recipe_is_overridden_field_by_field(api: Api) -> None:
    job = api.create_job(recipe=pb.Recipe(name="fast", epochs=3, learning_rate=0.01))

    assert (job.recipe.epochs, job.recipe.learning_rate) == (3, 0.01)
    assert job.recipe.batch_size == recipes.resolve().batch_size


def test_every_value_of_a_recipe_can_be_asked_for_and_is_shown(api: Api, store: Store) -> None:
    asked = pb.Recipe(
        name="paper",
        epochs=2_000,
        batch_size=96,
        learning_rate=0.01,
        weight_decay=0.001,
        label_smoothing=0.05,
        validation_fraction=0.25,
        optimizer=pb.OPTIMIZER_SGD,
        schedule=pb.SCHEDULE_COSINE,
        augmentation=Augmentation(flip=True, crop=1, cutout=3),
        average_epochs=2.5,
        distillation=0.75,
        patience=9,
        mixed_precision=True,
        scratch=pb.SCRATCH_BUDGET_COMPUTE,
    )
    job = api.create_job(recipe=asked)

    assert job.recipe == api.get_job(job).recipe == asked
    with store.snapshot() as work:
        recipe = work.jobs.get(api.project, job.name.rpartition("/")[2]).spec.recipe
    assert (recipe.optimizer, recipe.schedule, recipe.scratch) == (
        OptimizerKind.SGD,
        Schedule.COSINE,
        ScratchBudget.COMPUTE,
    )
    assert api.create_job(recipe=job.recipe).name == job.name, "what a job shows is what it trains with"


def test_a_recipe_is_fitted_to_the_data_set_and_shown_so(api: Api) -> None:
    architecture = api.upload_zoo(side=28).name
    fields: dict[str, Any] = {
        "architecture": architecture,
        "dataset": "datasets/fashion_mnist",
        "targets": [target(limit(fraction=0.5))],
    }
    fitted = api.create_job(**fields).recipe
    assert (fitted.batch_size, fitted.learning_rate) == (256, 0.4)
    assert fitted.augmentation == Augmentation(flip=True, crop=2, cutout=0)
    assert (fitted.optimizer, fitted.schedule, fitted.scratch) == (
        pb.OPTIMIZER_SGD,
        pb.SCHEDULE_ONE_CYCLE,
        pb.SCRATCH_BUDGET_EPOCHS,
    )

    unflipped = api.create_job(**fields, recipe=pb.Recipe(augmentation=Augmentation(flip=False))).recipe
    assert unflipped.augmentation == Augmentation(flip=False, crop=2, cutout=0)


def test_validate_only_shows_the_job_and_makes_none(api: Api, settings: ServerSettings) -> None:
    api.upload_zoo()
    before = rows(settings)

    job = api.create_job(validate_only=True, seed=7)

    assert (job.name, job.state, job.seed) == ("", pb.JOB_STATE_QUEUED, 7)
    assert job.recipe.epochs > 0
    assert rows(settings) == before


def test_equal_work_joins_the_job_that_does_it(api: Api) -> None:
    first = api.create_job()

    assert api.create_job(display_name="the same work").name == first.name
    assert api.create_job(seed=1).name != first.name


def test_a_repeated_request_returns_the_first_answer(api: Api) -> None:
    request_id = str(uuid.uuid4())
    first = api.create_job(request_id=request_id)
    api.jobs.CancelJob(pb.CancelJobRequest(name=first.name))

    assert api.create_job(request_id=request_id).name == first.name
    assert api.create_job().name != first.name


def test_a_request_id_stands_for_one_request(api: Api, settings: ServerSettings) -> None:
    request_id = str(uuid.uuid4())
    api.create_job(request_id=request_id)
    before = rows(settings)

    found = refusal(lambda: api.create_job(request_id=request_id, labels={"site": "b"}))

    assert (found.code, found.reason, found.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
        ["request_id"],
    )
    assert rows(settings) == before


def test_an_architecture_of_nobody_or_of_another_project_is_not_found(api: Api, settings: ServerSettings) -> None:
    theirs = Api(api.channel, f"{api.project}-theirs").upload_zoo().name

    for name in (f"{api.parent}/architectures/{'0' * 16}", theirs):
        found = refused(api, settings, architecture=name)
        assert (found.code, found.reason, found.fields) == (
            grpc.StatusCode.NOT_FOUND,
            "ARCHITECTURE_NOT_FOUND",
            ["job.architecture"],
        )


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"dataset": "datasets/imagenet"}, "DATASET_UNKNOWN", "job.dataset"),
        ({"recipe": pb.Recipe(name="slow")}, "RECIPE_UNKNOWN", "job.recipe.name"),
        ({"recipe": pb.Recipe(epochs=10_001)}, "REQUEST_INVALID", "job.recipe.epochs"),
        ({"recipe": pb.Recipe(distillation=1.5)}, "REQUEST_INVALID", "job.recipe.distillation"),
        ({"recipe": pb.Recipe(augmentation=Augmentation(crop=65))}, "REQUEST_INVALID", "job.recipe.augmentation.crop"),
        ({"recipe": pb.Recipe(augmentation=Augmentation(crop=8))}, "AUGMENTATION_INVALID", "job.recipe.augmentation.crop"),
        ({"targets": [target(profile="abacus")]}, "DEVICE_PROFILE_UNKNOWN", "job.targets[0].device_profile"),
        ({"targets": [target(profile="esp32-s3"), plans.Target()]}, "BUDGET_EMPTY", "job.targets[1].budget.limits"),
        (
            {"targets": [target(limit(value=1e6), limit(fraction=0.5))]},
            "LIMIT_DUPLICATE",
            "job.targets[0].budget.limits",
        ),
        (
            {"targets": [target(limit(resources.RESOURCE_ACCURACY, value=1.5))]},
            "LIMIT_INVALID",
            "job.targets[0].budget.limits[0].accuracy",
        ),
        (
            {"targets": [target(limit(resources.RESOURCE_LATENCY_MS, value=5))]},
            "LIMIT_NEEDS_PROFILE",
            "job.targets[0].latency_ms",
        ),
        ({"targets": [target(limit(value=-1))]}, "REQUEST_INVALID", "job.targets[0].budget.limits[0].value"),
        ({"targets": [plans.Target(budget=resources.Budget())]}, "REQUEST_INVALID", "job.targets[0].budget.limits"),
        ({"targets": []}, "REQUEST_INVALID", "job.targets"),
    ],
)
def test_what_is_wrong_is_named_and_leaves_nothing_behind(
    api: Api, settings: ServerSettings, fields: dict[str, Any], reason: str, field: str
) -> None:
    found = refused(api, settings, **fields)

    assert (found.code, found.reason, found.fields) == (grpc.StatusCode.INVALID_ARGUMENT, reason, [field])


@pytest.mark.parametrize("network", [{"side": 16}, {"classes": 5}])
def test_a_network_that_does_not_fit_the_data_is_refused(api: Api, settings: ServerSettings, network: dict[str, Any]) -> None:
    found = refused(api, settings, architecture=api.upload_zoo(**network).name)

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DATASET_SHAPE_MISMATCH")


def test_less_than_any_network_takes_is_infeasible_and_names_the_smallest(api: Api, settings: ServerSettings) -> None:
    targets = [target(limit(fraction=0.2)), target(limit(value=10), limit(resources.RESOURCE_FLASH_BYTES, value=1e6))]

    found = refused(api, settings, targets=targets)

    assert (found.code, found.reason, found.fields) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "BUDGET_INFEASIBLE",
        ["job.targets[1].budget"],
    )
    assert (found.metadata["target_index"], found.metadata["binding_limit"], found.metadata["asked"]) == ("1", "macs", "10")
    smallest = float(found.metadata["smallest_reachable"])
    assert f"{smallest:,.0f}" in found.message
    api.create_job(targets=[target(limit(value=smallest))], validate_only=True)
    assert refused(api, settings, targets=[target(limit(value=smallest - 1))]).reason == "BUDGET_INFEASIBLE"


def test_a_target_that_needs_no_pruning_is_refused(api: Api, settings: ServerSettings) -> None:
    found = refused(api, settings, targets=[target(limit(fraction=0.5)), target(profile="raspberrypi5")])

    assert (found.code, found.reason, found.fields) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "PRUNING_NO_EFFECT",
        ["job.targets[1]"],
    )
