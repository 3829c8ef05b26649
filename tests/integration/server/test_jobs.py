"""Reading, listing, cancelling and retrying jobs."""

from __future__ import annotations

import uuid

import grpc
import pytest

from secateur.core.jobs import JobState
from secateur.core.reports import Progress
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.ledger import JobLedger
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import resources_pb2 as resources
from tests.support.postgres import ON_BOTH_DATABASES
from tests.support.server import Api, refusal, train

pytestmark = ON_BOTH_DATABASES

NOBODY = "00000000-0000-0000-0000-000000000000"


def test_progress_is_shown_within_an_epoch_and_after_it(api: Api, store: Store) -> None:
    job = api.create_job()
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert claim is not None
    progress = Progress(0, 3, 30, 0.5, 0.75, 12.5, 40, 200, 1_234.5, 0.625, 0.0625)
    ledger.report(claim, progress=progress)

    shown = api.get_job(job).progress
    ledger.finish(claim, JobState.FAILED)

    assert (shown.epoch, shown.epochs, shown.step, shown.steps) == (3, 30, 40, 200)
    assert (shown.images_per_second, shown.validation_loss, shown.learning_rate) == (1_234.5, 0.625, 0.0625)
    assert [event.progress for event in api.watch(job) if event.HasField("progress")] == [shown]


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

    assert api.get_job(job).state == pb.JOB_STATE_CANCELLED


def test_a_finished_job_shows_its_results(api: Api, store: Store, blobs: BlobStore) -> None:
    job = api.create_job()
    train(store, blobs, job)

    done = api.get_job(job)

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

    failed = api.get_job(job)

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
