"""Creating, reading, listing and cancelling jobs."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import func, select

from secateur.core import recipes
from secateur.core.jobs import JobState
from secateur.core.reports import Progress
from secateur.core.specs import OptimizerKind, Schedule, ScratchBudget
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.database import make_engine
from secateur.store.ledger import JobLedger
from secateur.store.tables import Base
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans
from secateur.v1 import resources_pb2 as resources
from secateur.v1.dataset_service_pb2 import Augmentation
from tests.support.postgres import ON_BOTH_DATABASES
from tests.support.server import Api, Refusal, limit, refusal, target, train

pytestmark = ON_BOTH_DATABASES

NOBODY = "00000000-0000-0000-0000-000000000000"


def get(api: Api, job: pb.Job) -> pb.Job:
    found: pb.Job = api.jobs.GetJob(pb.GetJobRequest(name=job.name))
    return found


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
    seen = get(api, job)
    assert seen.queue_position >= 1
    seen.ClearField("queue_position")  # not worth counting for everybody who creates a job
    seen.ClearField("estimated_start_time")
    seen.ClearField("queue")
    assert seen == job


def test_a_job_that_waits_names_the_queue_that_a_worker_has_to_take(api: Api) -> None:
    assert get(api, api.create_job(recipe=pb.Recipe(name="fast", epochs=1))).queue == "cpu"
    long = api.create_job(recipe=pb.Recipe(name="fast", epochs=10_000))
    assert get(api, long).queue == "gpu"
    api.jobs.CancelJob(pb.CancelJobRequest(name=long.name))
    assert get(api, long).queue == ""


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

    assert job.recipe == get(api, job).recipe == asked
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


def test_progress_is_shown_within_an_epoch_and_after_it(api: Api, store: Store) -> None:
    job = api.create_job()
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert claim is not None
    progress = Progress(0, 3, 30, 0.5, 0.75, 12.5, 40, 200, 1_234.5, 0.625, 0.0625)
    ledger.report(claim, progress=progress)

    shown = get(api, job).progress
    ledger.finish(claim, JobState.FAILED)

    assert (shown.epoch, shown.epochs, shown.step, shown.steps) == (3, 30, 40, 200)
    assert (shown.images_per_second, shown.validation_loss, shown.learning_rate) == (1_234.5, 0.625, 0.0625)
    assert [event.progress for event in api.watch(job) if event.HasField("progress")] == [shown]


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


def test_jobs_are_listed_newest_first_in_pages(api: Api) -> None:
    names = [api.create_job(seed=seed).name for seed in range(3)]

    first = api.jobs.ListJobs(pb.ListJobsRequest(parent=api.parent, page_size=2))
    second = api.jobs.ListJobs(pb.ListJobsRequest(parent=api.parent, page_size=2, page_token=first.next_page_token))

    assert [job.name for job in (*first.jobs, *second.jobs)] == names[::-1]
    assert second.next_page_token == ""


def test_a_job_of_nobody_or_of_another_project_is_not_found(api: Api) -> None:
    theirs = api.create_job().name.replace(api.parent, "projects/somebody-else")

    for name in (f"{api.parent}/jobs/{NOBODY}", theirs):
        calls = [
            lambda name=name: api.jobs.GetJob(pb.GetJobRequest(name=name)),
            lambda name=name: api.jobs.CancelJob(pb.CancelJobRequest(name=name)),
            lambda name=name: list(api.jobs.WatchJob(pb.WatchJobRequest(name=name))),
        ]
        for call in calls:
            found = refusal(call)
            assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


def test_a_queued_job_is_cancelled_at_once_and_for_good(api: Api, store: Store) -> None:
    job = api.create_job()

    cancelled = api.jobs.CancelJob(pb.CancelJobRequest(name=job.name))

    assert cancelled.state == pb.JOB_STATE_CANCELLED
    assert cancelled.etag != job.etag
    assert JobLedger(store).claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30) is None
    assert api.jobs.CancelJob(pb.CancelJobRequest(name=job.name)) == cancelled


def test_a_running_job_learns_that_it_is_cancelled(api: Api, store: Store) -> None:
    job = api.create_job()
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert claim is not None

    assert api.jobs.CancelJob(pb.CancelJobRequest(name=job.name)).state == pb.JOB_STATE_RUNNING
    assert ledger.heartbeat(claim, 30) is True
    ledger.finish(claim, JobState.CANCELLED)

    assert get(api, job).state == pb.JOB_STATE_CANCELLED


def test_a_finished_job_shows_its_results(api: Api, store: Store, blobs: BlobStore) -> None:
    job = api.create_job()
    train(store, blobs, job)

    done = get(api, job)

    assert (done.state, done.attempt) == (pb.JOB_STATE_SUCCEEDED, 1)
    assert done.start_time.ToNanoseconds() <= done.end_time.ToNanoseconds()
    (result,) = done.results
    assert result.model.startswith(f"{api.parent}/models/")
    assert (result.met, result.message, result.plans_tried) == (True, "Every limit is met", 2)
    tightened, trained = result.attempts
    assert (tightened.plan, tightened.trained, trained.trained) == ("a" * 64, False, True)
    assert [limit.achieved for limit in tightened.compliance] == [140_000]
    assert [(each.resource, each.limit) for each in tightened.tightened] == [(resources.RESOURCE_FLASH_BYTES, 122_000)]
    assert result.compliance[0].resource == resources.RESOURCE_FLASH_BYTES
    assert result.compliance[0].margin == pytest.approx((131_072 - 70_000) / 131_072)
    assert {width.group: width.width < width.unpruned_width for width in result.plan.widths}
    assert result.plan.cost.parameters > 0


def test_a_failed_job_says_why(api: Api, store: Store) -> None:
    job = api.create_job()
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert claim is not None
    ledger.finish(claim, JobState.FAILED, reason="TRAINING_DIVERGED", message="The loss is not finite")

    failed = get(api, job)

    assert (failed.state, failed.error.reason, failed.error.message) == (
        pb.JOB_STATE_FAILED,
        "TRAINING_DIVERGED",
        "The loss is not finite",
    )


def test_jobs_are_filtered_and_ordered(api: Api) -> None:
    first, second, third = (
        api.create_job(seed=seed, labels={"site": site}, display_name=f"run {seed}")
        for seed, site in enumerate(("hall 3", "hall 4", "hall 3"))
    )
    api.jobs.CancelJob(pb.CancelJobRequest(name=third.name))

    def found(text: str, order_by: str = "") -> list[str]:
        request = pb.ListJobsRequest(parent=api.parent, filter=text, order_by=order_by)
        return [job.name for job in api.jobs.ListJobs(request).jobs]

    assert found("state = QUEUED") == [second.name, first.name]
    assert found('labels.site = "hall 3"', "create_time") == [first.name, third.name]
    assert found('NOT labels.site = "hall 3" OR end_time:*') == [third.name, second.name]
    refused = refusal(lambda: found("state = IDLE"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILTER_INVALID")
    assert (refused.fields, refused.metadata["position"]) == (["filter"], "9")
    assert refusal(lambda: found("", "colour")).reason == "ORDER_INVALID"


def test_a_job_that_has_changed_since_it_was_read_is_not_cancelled(api: Api, store: Store) -> None:
    read = api.create_job()
    JobLedger(store).claim(read.name.rpartition("/")[2], worker="w", lease_seconds=30)

    found = refusal(lambda: api.jobs.CancelJob(pb.CancelJobRequest(name=read.name, etag=read.etag)))
    current = api.jobs.GetJob(pb.GetJobRequest(name=read.name))
    cancelled = api.jobs.CancelJob(pb.CancelJobRequest(name=read.name, etag=current.etag))

    assert (found.code, found.reason, found.fields) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", ["etag"])
    assert found.metadata["etag"] == current.etag != read.etag
    assert current.state == pb.JOB_STATE_RUNNING
    assert cancelled.etag != current.etag


class TestRetry:
    """Work that came to nothing, done again."""

    def test_a_cancelled_job_is_done_again_as_a_new_one(self, api: Api) -> None:
        old = api.create_job(labels={"site": "a"}, display_name="nightly", seed=7)
        old = api.jobs.CancelJob(pb.CancelJobRequest(name=old.name))

        new = api.jobs.RetryJob(pb.RetryJobRequest(name=old.name, etag=old.etag))

        assert new.name != old.name
        assert (new.state, new.attempt, new.last_sequence) == (pb.JOB_STATE_QUEUED, 0, 1)
        for field in ("labels", "display_name", "seed", "architecture", "dataset", "targets", "policy", "recipe"):
            assert getattr(new, field) == getattr(old, field)
        assert api.jobs.GetJob(pb.GetJobRequest(name=old.name)) == old

    def test_twice_is_once(self, api: Api) -> None:
        old = api.create_job()
        api.jobs.CancelJob(pb.CancelJobRequest(name=old.name))
        request = pb.RetryJobRequest(name=old.name, request_id=str(uuid.uuid4()))

        new = api.jobs.RetryJob(request)
        api.jobs.CancelJob(pb.CancelJobRequest(name=new.name))

        assert api.jobs.RetryJob(request).name == new.name
        other = refusal(lambda: api.jobs.RetryJob(pb.RetryJobRequest(name=new.name, request_id=request.request_id)))
        assert (other.code, other.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
        third = api.jobs.RetryJob(pb.RetryJobRequest(name=old.name))
        assert third.name == api.jobs.RetryJob(pb.RetryJobRequest(name=new.name)).name  # the same work is done once

    def test_what_cannot_be_retried_says_why(self, api: Api, store: Store, blobs: BlobStore) -> None:
        job = api.create_job()
        waiting = refusal(lambda: api.jobs.RetryJob(pb.RetryJobRequest(name=job.name)))
        train(store, blobs, job)
        done = refusal(lambda: api.jobs.RetryJob(pb.RetryJobRequest(name=job.name)))
        stale = refusal(lambda: api.jobs.RetryJob(pb.RetryJobRequest(name=job.name, etag=job.etag)))
        unknown = refusal(lambda: api.jobs.RetryJob(pb.RetryJobRequest(name=f"{api.parent}/jobs/0")))

        assert [found.reason for found in (waiting, done)] == ["JOB_NOT_RETRYABLE"] * 2
        assert (stale.reason, unknown.reason) == ("ETAG_MISMATCH", "JOB_NOT_FOUND")
