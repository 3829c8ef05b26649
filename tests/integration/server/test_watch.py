"""Watching a job while a real ledger writes its events."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import grpc
import grpc.aio
import pytest
from sqlalchemy import Engine, event

from secateur.core.jobs import JobStage, JobState
from secateur.core.reports import Progress
from secateur.server.jobs import feeds, mapping
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import job_service_pb2_grpc
from tests.support.postgres import ON_BOTH_DATABASES
from tests.support.server import PATIENCE_S, Api, refusal, running
from tests.support.stack import until

pytestmark = ON_BOTH_DATABASES

REPORTS = 40


def work(store: Store, job: pb.Job, reports: int = REPORTS) -> None:
    """Does a job as a worker does it: claims it, reports epochs, ends it."""
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert claim is not None
    for epoch in range(1, reports + 1):
        progress = Progress(0, epoch, reports, loss=1 / epoch, accuracy=0.5, eta_seconds=1.5)
        ledger.report(claim, stage=JobStage.TRAINING, message=f"Epoch {epoch}", progress=progress)
    ledger.finish(claim, JobState.SUCCEEDED, message="Every limit is met")


@pytest.fixture
def job(api: Api) -> pb.Job:
    return api.create_job()


def test_every_event_arrives_once_and_in_order_while_they_are_written(api: Api, store: Store, job: pb.Job) -> None:
    worker = threading.Thread(target=work, args=(store, job))
    worker.start()
    seen = list(api.watch(job))
    worker.join()

    assert [event.sequence for event in seen] == list(range(1, REPORTS + 4))
    assert (seen[0].state, seen[0].attempt) == (pb.JOB_STATE_QUEUED, 0)
    assert (seen[1].state, seen[1].stage, seen[1].attempt) == (pb.JOB_STATE_RUNNING, pb.JOB_STAGE_PLANNING, 1)
    tenth = seen[11]
    assert (tenth.message, tenth.stage, tenth.progress.epoch, tenth.progress.epochs) == (
        "Epoch 10",
        pb.JOB_STAGE_TRAINING,
        10,
        40,
    )
    assert tenth.progress.eta.ToMilliseconds() == 1500
    assert (seen[-1].state, seen[-1].message) == (pb.JOB_STATE_SUCCEEDED, "Every limit is met")


def test_a_watch_that_breaks_off_again_and_again_resumes_without_gap_or_repeat(api: Api, store: Store, job: pb.Job) -> None:
    worker = threading.Thread(target=work, args=(store, job))
    worker.start()
    seen: list[pb.JobEvent] = []
    while not seen or seen[-1].state != pb.JOB_STATE_SUCCEEDED:
        call = api.jobs.WatchJob(pb.WatchJobRequest(name=job.name, after_sequence=len(seen)), timeout=60)
        seen.extend(response.event for response, _ in zip(call, range(7), strict=False))
        call.cancel()
    worker.join()

    assert [event.sequence for event in seen] == list(range(1, REPORTS + 4))


def test_an_event_wakes_the_watcher_long_before_it_would_look_by_itself(
    api: Api, store: Store, job: pb.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "FALLBACK_SECONDS", 3600)
    stream = api.watch(job)
    assert next(stream).sequence == 1
    time.sleep(0.3)  # the watcher has read everything and waits for its bell

    JobLedger(store).claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert next(stream).state == pb.JOB_STATE_RUNNING


def test_without_wakeups_the_watcher_looks_by_itself(api: Api, silent_store: Store, job: pb.Job) -> None:
    stream = api.watch(job)
    assert next(stream).sequence == 1

    work(silent_store, job, reports=1)

    assert [event.sequence for event in stream] == [2, 3, 4]


def test_a_job_that_has_ended_is_told_from_its_rows(api: Api, store: Store, job: pb.Job) -> None:
    work(store, job, reports=2)

    assert [event.sequence for event in api.watch(job)] == [1, 2, 3, 4, 5]
    assert [event.sequence for event in api.watch(job, after=3)] == [4, 5]
    assert list(api.watch(job, after=5)) == []


def test_a_cancelled_queued_job_ends_its_watch(api: Api, job: pb.Job) -> None:
    stream = api.watch(job)
    assert next(stream).sequence == 1

    api.jobs.CancelJob(pb.CancelJobRequest(name=job.name))

    assert [event.state for event in stream] == [pb.JOB_STATE_CANCELLED]


def test_a_watch_ends_with_its_deadline(api: Api, job: pb.Job) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(api.watch(job, timeout=0.3))

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def wait(api: Api, job: pb.Job, timeout: float | None = None, *, deadline: float = 60) -> tuple[pb.Job, float]:
    request = pb.WaitJobRequest(name=job.name)
    if timeout is not None:
        request.timeout.FromTimedelta(timedelta(seconds=timeout))
    started = time.monotonic()
    return api.jobs.WaitJob(request, timeout=deadline), time.monotonic() - started


def test_a_wait_ends_with_the_job(api: Api, store: Store, job: pb.Job) -> None:
    worker = threading.Timer(0.5, work, args=(store, job, 3))
    worker.start()
    found, _ = wait(api, job)
    worker.join()

    assert (found.state, found.last_sequence) == (pb.JOB_STATE_SUCCEEDED, 6)
    assert wait(api, job)[0] == found


def test_a_wait_that_is_over_returns_the_job_as_it_is(api: Api, job: pb.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "_ANSWER_SECONDS", 29.5)  # as the answer may take on a busy machine
    for timeout, deadline in ((0.0, 30.0), (0.3, 30.0), (None, 30.0), (100.0, 30.0)):
        found, seconds = wait(api, job, timeout, deadline=deadline)
        assert found.state == pb.JOB_STATE_QUEUED
        assert (timeout or 0) <= seconds < deadline or timeout == 100.0
    assert refusal(lambda: wait(api, pb.Job(name=f"{api.parent}/jobs/0"))).reason == "JOB_NOT_FOUND"


def test_hundreds_of_watchers_get_every_event_and_one_reads_for_all(
    api: Api, settings: ServerSettings, store: Store, job: pb.Job
) -> None:
    watchers, reports = 300, 20
    reads = []

    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "FROM job_events" in statement:
            reads.append(statement)

    async def watch_all(address: str) -> list[list[int]]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = job_service_pb2_grpc.JobServiceStub(channel)

            async def watch() -> list[int]:
                seen = []
                async for response in stub.WatchJob(pb.WatchJobRequest(name=job.name), timeout=PATIENCE_S):
                    seen.append(response.event.sequence)
                    if len(seen) == 1:
                        started.append(None)
                        if len(started) == watchers:
                            worker.start()
                return seen

            return await asyncio.gather(*(watch() for _ in range(watchers)))

    started: list[None] = []
    worker = threading.Thread(target=work, args=(store, job, reports))
    event.listen(Engine, "before_cursor_execute", count)
    try:
        with running(settings) as server:
            seen = asyncio.run(watch_all(server.address))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    worker.join()

    assert seen == [list(range(1, reports + 4))] * watchers
    assert watchers <= len(reads) <= watchers + 3 * reports  # each once for what was before, then one for all


def test_a_server_with_as_many_watches_as_it_may_have_refuses_another(api: Api, settings: ServerSettings, job: pb.Job) -> None:
    with (
        running(settings.model_copy(update={"max_watches": 3})) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        other = Api(channel, api.project)
        streams = [other.jobs.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60) for _ in range(2)]
        assert [next(stream).event.sequence for stream in streams] == [1, 1]

        found = refusal(lambda: next(other.watch(job)))
        assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCH_LIMIT")
        assert refusal(lambda: wait(other, job)).reason == "WATCH_LIMIT"

        streams[0].cancel()
        until(lambda: admitted(other, job), "the server has noticed that one has ended")


def admitted(api: Api, job: pb.Job) -> bool:
    stream = api.jobs.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60)
    try:
        return bool(next(stream).event.sequence == 1)
    except grpc.RpcError:
        return False
