"""Every call, blocking or for asyncio: tried again, bounded in time, ended by closing its client."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from secateur.client import Client, DeadlineExceeded, Infeasible, Retry, Unavailable, UsageError, aio
from secateur.v1 import job_service_pb2 as jobs_pb
from tests.support.datasets import arrays, npz
from tests.support.stack import until
from tests.unit.client.conftest import FAST, KERAS_JSON, RESNET, TARGET
from tests.unit.client.remote.service import Service


def test_one_idempotency_key_per_call_whatever_the_retries(client: Client, remote: Service) -> None:
    remote.faults.fail("CreateJob", times=3)
    client.submit(RESNET, dataset="digits", targets=TARGET)
    client.submit(RESNET, dataset="digits", targets=TARGET)
    keys = [
        request.request_id for request in remote.faults.requests["CreateJob"] if isinstance(request, jobs_pb.CreateJobRequest)
    ]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]
    assert uuid.UUID(keys[0]).version == 4


def test_what_a_server_that_stops_has_dropped_is_asked_again(client: Client, remote: Service) -> None:
    remote.faults.fail("CreateJob", "CANCELLED", times=2)
    remote.faults.fail("GetJob", "CANCELLED", times=2)
    job = client.submit(RESNET, dataset="digits", targets=TARGET)
    assert client.job(job.name).state == "SUCCEEDED"
    assert len(remote.faults.requests["CreateJob"]) == len(remote.faults.requests["GetJob"]) == 3


def test_what_the_service_refuses_is_not_retried(client: Client, remote: Service) -> None:
    remote.faults.fail(
        "CreateJob", "FAILED_PRECONDITION", reason="BUDGET_INFEASIBLE", message="flash_bytes: 12000 is the least"
    )
    with pytest.raises(Infeasible, match="12000 is the least"):
        client.submit(RESNET, dataset="digits", targets=TARGET)
    assert len(remote.faults.requests["CreateJob"]) == 1


def test_retries_end_with_the_wall_clock_bound(remote: Service) -> None:
    remote.faults.fail("GetJob", times=10_000)
    started = time.monotonic()
    patient = replace(FAST, first_contact=60, total=60)
    # The bound may end a pause, which leaves the last failure, or a call.
    with Client(remote.address, timeout=2.0, retry=patient) as client, pytest.raises((Unavailable, DeadlineExceeded)):
        client.job("1")
    assert time.monotonic() - started < 20
    assert len(remote.faults.requests["GetJob"]) > 3


def test_a_pause_that_would_outlast_the_bound_is_not_made(remote: Service) -> None:
    remote.faults.fail("GetJob")
    slow = Retry(first_delay=60, max_delay=60, first_contact=100, total=100)
    with Client(remote.address, timeout=20, retry=slow) as client, pytest.raises(Unavailable):
        client.job("1")


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GetJob", lambda client, _: client.job("1")),
        ("DeleteModel", lambda client, _: client.delete_model("aa01")),
        ("UploadArchitecture", lambda client, _: client.upload(KERAS_JSON)),
        ("UploadDataset", lambda client, folder: client.upload_dataset("mine", folder / "mine.npz")),
        ("DownloadArtifact", lambda client, folder: client.model("aa01").download(folder)),
    ],
)
def test_a_server_that_says_nothing_is_not_waited_for_longer_than_the_bound(
    remote: Service, tmp_path: Path, method: str, call: Callable[[Client, Path], object]
) -> None:
    (tmp_path / "mine.npz").write_bytes(npz(arrays(60, 9)))
    remote.faults.silent.add(method)
    with Client(remote.address, timeout=1.0, retry=FAST) as client, pytest.raises(DeadlineExceeded):
        call(client, tmp_path)
    assert len(remote.faults.requests[method]) == 1


def test_pauses_grow_to_a_bound_with_jitter() -> None:
    pauses = list(islice(Retry(first_delay=0.1, factor=2, max_delay=1.0).delays(), 50))
    assert 0.05 <= pauses[0] <= 0.1
    assert all(0.5 <= pause <= 1.0 for pause in pauses[4:])
    assert len(set(pauses)) == len(pauses)


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 0, -1.0, 1e10, "60"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(seconds: float) -> None:
    for make in (Client, aio.Client):
        with pytest.raises(UsageError, match="timeout must be a number of seconds, above 0 and at most") as caught:
            make(timeout=seconds)
        assert caught.value.field == "timeout"
    with pytest.raises(UsageError, match="max_delay must be"):
        Retry(max_delay=seconds)


@pytest.mark.parametrize("seconds", [math.nan, -1.0])
def test_a_patience_may_be_none_or_endless_but_must_be_a_time(seconds: float) -> None:
    assert Retry(first_contact=0, total=math.inf).total == math.inf
    with pytest.raises(UsageError, match="total must be a number of seconds, 0 or more"):
        Retry(total=seconds)


def test_an_upload_is_repeated_whole(client: Client, remote: Service) -> None:
    remote.faults.fail("UploadArchitecture", times=2)
    architecture = client.upload(KERAS_JSON, display_name="mine")
    assert remote.architectures.stored == {architecture.name: KERAS_JSON.encode()}
    assert architecture.display_name == "mine"
    assert architecture.groups[0].members == ("conv1",)


def test_an_upload_that_is_cut_off_while_it_sends_is_tried_again(client: Client, remote: Service) -> None:
    remote.faults.fail("UploadArchitecture", "INTERNAL", message="Internal error from Core", times=2)  # gRPC's own words for it
    with (
        Client(remote.address, retry=Retry(first_contact=0, total=0)) as impatient,
        pytest.raises(Unavailable, match="ended before all of it was sent"),
    ):
        impatient.upload(KERAS_JSON)
    architecture = client.upload(KERAS_JSON)
    assert remote.architectures.stored == {architecture.name: KERAS_JSON.encode()}


def test_a_closed_client_says_so(remote: Service) -> None:
    client = Client(remote.address)
    list(client.jobs())
    client.close()
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.job("1")


def test_a_call_that_is_going_on_when_its_client_is_closed_says_so(remote: Service) -> None:
    remote.faults.fail("GetJob", times=10_000)
    client = Client(remote.address, retry=replace(FAST, first_contact=60))
    with ThreadPoolExecutor() as threads:
        call = threads.submit(client.job, "1")
        until(lambda: bool(remote.faults.requests["GetJob"]), "it has called")
        client.close()
        with pytest.raises(UsageError, match="closed"):
            call.result(60)


def test_no_call_hangs_that_begins_while_its_client_is_being_closed(remote: Service) -> None:
    def call(client: Client, begun: threading.Barrier) -> None:
        begun.wait()
        while True:
            list(client.jobs())

    with ThreadPoolExecutor() as threads, switching_often():
        for number in range(100):
            client, begun = Client(remote.address), threading.Barrier(3)
            calls = [threads.submit(call, client, begun) for _ in range(2)]
            begun.wait()
            time.sleep(number % 5 / 1_000)
            client.close()
            for ended in calls:
                with pytest.raises(UsageError, match="closed"):
                    ended.result(60)


@contextmanager
def switching_often() -> Iterator[None]:
    """Has threads take turns so often that what must not happen in between does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_a_client_serves_many_threads(client: Client) -> None:
    names: list[str] = []

    def submit(seed: int) -> None:
        names.append(client.submit(RESNET, dataset="digits", targets=TARGET, seed=seed).name)

    threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 8


def test_the_same_for_asyncio(remote: Service) -> None:
    async def session() -> None:
        async with aio.Client(remote.address, retry=FAST) as client:
            remote.faults.fail("CreateJob", times=2)
            first, second = await asyncio.gather(
                client.submit(RESNET, dataset="digits", targets=TARGET),
                client.submit(RESNET, dataset="digits", targets=TARGET, seed=1),
            )
            assert first.name != second.name
            assert len([job async for job in client.jobs()]) == 2
            assert (await client.quote(RESNET, targets=TARGET))[0].feasible
        with pytest.raises(UsageError, match="closed"):
            await client.job("1")

    asyncio.run(session())


def test_what_goes_on_when_an_asyncio_client_is_closed_says_so_and_what_is_cancelled_is_cancelled(remote: Service) -> None:
    async def session() -> None:
        remote.jobs.live = True
        remote.faults.fail("GetModel", times=10_000)
        client = aio.Client(remote.address, retry=replace(FAST, first_contact=60, total=60))
        job = await client.submit(RESNET, dataset="digits", targets=TARGET)

        async def watch() -> None:
            async for _ in job.watch():
                pass

        calls = [asyncio.create_task(call) for call in (watch(), job.wait(), job.wait(60), client.model("aa01"))]
        cancelled = asyncio.create_task(watch())
        await asyncio.to_thread(
            until, lambda: remote.jobs.watching == 4 and bool(remote.faults.requests["GetModel"]), "all have called"
        )
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await client.close()
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(ended, UsageError), repr(ended)
            assert ended.reason == "CLIENT_CLOSED"
        with pytest.raises(UsageError, match="CLIENT_CLOSED"):
            [job async for job in client.jobs()]

    asyncio.run(session())
