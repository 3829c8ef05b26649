"""Watching, waiting for and cancelling a job."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import BaseEventLoop
from typing import Any

import pytest

from secateur.client import (
    Client,
    JobCancelled,
    JobError,
    JobEvent,
    JobExpired,
    JobFailed,
    JobInfeasible,
    NotFound,
    Target,
    Unavailable,
    WaitTimeout,
    aio,
)
from secateur.client import client as blocking
from secateur.v1 import job_service_pb2 as pb
from tests.unit.client.conftest import FAST, RESNET
from tests.unit.client.remote.models import NAME
from tests.unit.client.remote.service import Service

LAST = 5
"""Sequence number of the last event of a scripted job."""


def submit(client: Client) -> blocking.Job:
    return client.submit(RESNET, dataset="digits", targets=Target(flash="64KiB"))


def test_watch_yields_every_event_and_ends_with_the_job(client: Client) -> None:
    events = list(submit(client).watch())
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [event.state for event in events] == ["QUEUED", "RUNNING", "RUNNING", "RUNNING", "SUCCEEDED"]
    progress = events[1].progress
    assert progress is not None
    assert (progress.epoch, progress.epochs, progress.accuracy) == (1, 3, 0.9)
    assert (progress.step, progress.steps, progress.images_per_second) == (0, 20, 1_234.5)
    assert (progress.validation_loss, progress.learning_rate) == (0.25, 0.05)


def test_a_broken_watch_goes_on_without_gap_or_repeat(client: Client, remote: Service) -> None:
    job = submit(client)
    remote.jobs.break_after = [0, 2, 1]
    remote.faults.fail("WatchJob", times=2)
    assert [event.sequence for event in job.watch()] == [1, 2, 3, 4, 5]
    resumed = [
        request.after_sequence for request in remote.faults.requests["WatchJob"] if isinstance(request, pb.WatchJobRequest)
    ]
    assert resumed == [0, 0, 0, 0, 2, 3]


def test_a_watch_that_the_server_ends_early_goes_on(client: Client, remote: Service) -> None:
    remote.jobs.live = True
    job = submit(client)
    remote.jobs.end_after = [1]
    threading.Timer(0.1, job.cancel).start()
    assert [event.state for event in job.watch()] == ["QUEUED", "CANCELLED"]


def test_a_watch_that_ends_before_its_last_event_goes_on_though_the_job_is_done(client: Client, remote: Service) -> None:
    job = submit(client)
    remote.jobs.end_after = [LAST - 1]
    assert [event.sequence for event in job.watch()] == [1, 2, 3, 4, 5]


def test_watch_starts_after_what_was_seen(client: Client) -> None:
    job = submit(client)
    assert [event.sequence for event in job.watch(after=3)] == [4, 5]
    assert list(job.watch(after=LAST)) == []


def test_a_watch_does_not_wait_for_ever_for_a_server_that_is_gone(client: Client, remote: Service) -> None:
    job = submit(client)
    remote.faults.fail("WatchJob", times=100_000)
    with pytest.raises(Unavailable):
        list(job.watch())


def test_leaving_a_watch_early_is_fine(client: Client) -> None:
    job = submit(client)
    for event in job.watch():
        assert event.sequence == 1
        break
    assert job.wait().state == "SUCCEEDED"


def test_wait_returns_the_job_as_it_ended(client: Client) -> None:
    job = submit(client)
    assert not job.done
    assert job.wait() is job
    assert (job.state, job.attempt, job.done) == ("SUCCEEDED", 1, True)
    assert job.results[0].met
    assert job.exception() is None


def test_wait_shows_every_event_in_the_thread_that_waits(client: Client) -> None:
    seen: list[tuple[int, str]] = []

    def look(event: JobEvent) -> None:
        seen.append((event.sequence, threading.current_thread().name))

    submit(client).wait(on_event=look)
    assert seen == [(sequence, threading.current_thread().name) for sequence in range(1, LAST + 1)]


def test_what_a_callback_raises_comes_out(client: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        submit(client).wait(on_event=lambda _: 1 // 0)


def test_ctrl_c_while_the_next_event_is_asked_for_ends_the_watch(
    client: Client, remote: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.jobs.live = True
    events = submit(client).watch(timeout=20)
    next(events)
    hand_over = BaseEventLoop.call_soon_threadsafe

    def interrupted(*args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return hand_over(*args)
        monkeypatch.undo()
        hand_over(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(BaseEventLoop, "call_soon_threadsafe", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(events)
    assert time.monotonic() - started < 10


def test_wait_stops_in_time_and_the_job_goes_on(client: Client, remote: Service) -> None:
    remote.jobs.live = True
    job = submit(client)
    started = time.monotonic()
    with pytest.raises(WaitTimeout, match="it goes on") as caught:
        job.wait(timeout=0.2)
    assert time.monotonic() - started < 5  # the job never ends
    assert isinstance(caught.value, TimeoutError)
    assert not remote.faults.requests["CancelJob"]


def test_a_job_that_is_done_is_never_said_to_go_on(client: Client) -> None:
    job = submit(client).wait()
    assert {event.sequence for event in job.watch(timeout=0)} <= {1, 2, 3, 4, 5}
    assert job.wait(0, on_event=lambda _: None).state == "SUCCEEDED"
    assert [event.sequence for event in job.watch(timeout=60)] == [1, 2, 3, 4, 5]


def test_ctrl_c_stops_the_waiting_and_not_the_job(client: Client, remote: Service) -> None:
    remote.jobs.live = True
    job = submit(client)

    def interrupt(_: JobEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.wait(on_event=interrupt)
    assert job.refresh().state == "QUEUED"
    assert not remote.faults.requests["CancelJob"]


def test_cancel_ends_the_job(client: Client, remote: Service) -> None:
    remote.jobs.live = True
    job = submit(client)
    assert job.cancel() is job
    assert job.wait().state == "CANCELLED"


def test_cancel_may_insist_on_what_was_read(client: Client, remote: Service) -> None:
    job = submit(client)
    remote.jobs.jobs[job.name].etag = "7"
    job.refresh().cancel(if_unchanged=True)
    job.cancel()
    assert [request.etag for request in remote.faults.requests["CancelJob"]] == ["7", ""]  # type: ignore[attr-defined]


def test_retry_gives_a_new_job(client: Client, remote: Service) -> None:
    old = submit(client)
    new = old.retry()
    assert (old.name, new.name) == ("projects/default/jobs/00000001", "projects/default/jobs/00000002")
    assert new.wait().done
    (request,) = remote.faults.requests["RetryJob"]
    assert len(request.request_id) == 36  # type: ignore[attr-defined]


def test_result_returns_one_model_per_target(client: Client) -> None:
    job = client.submit(RESNET, dataset="digits", targets=[Target(flash="64KiB"), Target(ram="40KiB")])
    assert [model.name for model in job.result()] == [NAME, NAME]


@pytest.mark.parametrize(
    ("state", "kind", "message"),
    [
        (pb.JOB_STATE_FAILED, JobFailed, "WORKER_LOST: The worker was lost three times"),
        (pb.JOB_STATE_INFEASIBLE, JobInfeasible, "INFEASIBLE: flash_bytes binds"),
        (pb.JOB_STATE_CANCELLED, JobCancelled, "CANCELLED: "),
        (pb.JOB_STATE_EXPIRED, JobExpired, "EXPIRED: "),
    ],
)
def test_result_raises_how_the_job_ended(
    client: Client, remote: Service, state: pb.JobState.ValueType, kind: type[JobError], message: str
) -> None:
    remote.jobs.final_state = state
    job = submit(client)
    with pytest.raises(kind, match=message) as caught:
        job.result()
    assert caught.value.job == job.name
    assert job.wait().done


def test_the_nearest_models_of_an_infeasible_job_are_there(client: Client, remote: Service) -> None:
    remote.jobs.final_state = pb.JOB_STATE_INFEASIBLE
    job = submit(client).wait()
    assert [model.name for model in job.models()] == [NAME]


def test_a_final_state_of_a_newer_service_ends_the_wait(client: Client, remote: Service) -> None:
    job = submit(client)
    remote.jobs.jobs[job.name].MergeFromString(bytes([10 << 3, 42]))  # field `state` = 42
    remote.jobs.events[job.name][-1].MergeFromString(bytes([3 << 3, 42]))
    assert job.wait().state == "UNKNOWN(42)"
    assert isinstance(job.exception(), JobFailed)


def test_a_job_of_nobody_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="JOB_NOT_FOUND"):
        client.job("beef")


def test_the_same_for_asyncio(remote: Service) -> None:
    async def session() -> None:
        async with aio.Client(remote.address, retry=FAST) as client:
            job = await client.submit(RESNET, dataset="digits", targets=Target(flash="64KiB"))
            remote.jobs.break_after = [2]
            seen: list[int] = []
            await job.wait(on_event=lambda event: seen.append(event.sequence))
            assert seen == [1, 2, 3, 4, 5]
            (model,) = await job.result()
            assert model.name == NAME
            remote.jobs.live = True
            with pytest.raises(WaitTimeout):
                await (await client.submit(RESNET, dataset="digits", targets=Target(ram=1000))).wait(timeout=0.05)

    asyncio.run(session())
