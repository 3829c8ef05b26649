"""Calls that answer at once, through the blocking client and the one for asyncio."""

from __future__ import annotations

import asyncio
import json
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

from secateur.client import Budget, Client, DeadlineExceeded, Infeasible, Retry, Target, Unavailable, UsageError, Zoo, aio
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb
from tests.support.datasets import arrays, npz
from tests.support.stack import until
from tests.unit.client.conftest import FAST
from tests.unit.client.remote.models import ETAG, NAME
from tests.unit.client.remote.service import Service

RESNET = Zoo("resnet20", (8, 8, 1), 10)
TARGET = Target("stm32f746", flash="64KiB", parameters="50%")
KERAS_JSON = json.dumps({"class_name": "Sequential", "config": {"layers": [], "padding": "x" * 3_000_000}})


class KerasLike:
    """Describes itself as a Keras model does."""

    def to_json(self) -> str:
        return KERAS_JSON


def test_submit_sends_what_was_asked(client: Client, remote: Service) -> None:
    job = client.submit(
        RESNET,
        dataset="digits",
        targets=TARGET,
        recipe="fast",
        epochs=30,
        batch_size=32,
        learning_rate=0.05,
        mode="flops",
        round_to=8,
        seed=7,
        display_name="first",
        labels={"site": "a"},
    )
    (request,) = remote.faults.requests["CreateJob"]
    assert isinstance(request, jobs_pb.CreateJobRequest)
    (architecture,) = remote.architectures.stored
    fraction = resources_pb.Limit(resource=resources_pb.RESOURCE_PARAMETERS, fraction=0.5)
    flash = resources_pb.Limit(resource=resources_pb.RESOURCE_FLASH_BYTES, value=65_536)
    assert request.parent == "projects/default"
    assert not request.validate_only
    assert request.job == jobs_pb.Job(
        architecture=architecture,
        dataset="datasets/digits",
        targets=[
            plans_pb.Target(device_profile="deviceProfiles/stm32f746", budget=resources_pb.Budget(limits=[fraction, flash]))
        ],
        policy=plans_pb.PlanPolicy(mode=plans_pb.PLAN_MODE_FLOPS, round_to=8),
        recipe=jobs_pb.Recipe(name="fast", epochs=30, batch_size=32, learning_rate=0.05),
        seed=7,
        display_name="first",
        labels={"site": "a"},
    )
    assert (job.state, job.name) == ("QUEUED", "projects/default/jobs/00000001")


def test_what_is_not_asked_is_left_to_the_recipe(client: Client, remote: Service) -> None:
    client.submit(RESNET, dataset="digits", targets=[TARGET, Target(latency=5)])
    (request,) = remote.faults.requests["CreateJob"]
    assert isinstance(request, jobs_pb.CreateJobRequest)
    assert request.job.recipe == jobs_pb.Recipe()
    assert [len(target.budget.limits) for target in request.job.targets] == [2, 1]


def test_a_job_that_is_only_validated_is_not_created(client: Client, remote: Service) -> None:
    job = client.submit(RESNET, dataset="digits", targets=TARGET, validate_only=True)
    assert job.name == ""
    assert not remote.jobs.jobs


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


def test_every_form_of_an_architecture_is_the_same_architecture(client: Client, remote: Service, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(KERAS_JSON)
    names = {client.upload(form).name for form in (KERAS_JSON, path, str(path), KerasLike())}
    assert names == set(remote.architectures.stored)
    assert len(names) == 1


def test_a_zoo_name_is_a_zoo_network(client: Client, remote: Service) -> None:
    by_name = client.upload("resnet20", input_shape=(8, 8, 1), classes=10)
    assert by_name.name == client.upload(RESNET).name
    spec = remote.faults.requests["UploadArchitecture"][0]
    assert isinstance(spec, architectures_pb.UploadArchitectureRequest)
    assert spec.spec.zoo == architectures_pb.ZooSource(name="resnet20", input_shape=[8, 8, 1], classes=10)


def test_a_stored_architecture_is_not_uploaded_again(client: Client, remote: Service) -> None:
    architecture = client.upload(RESNET)
    client.quote(architecture, targets=TARGET)
    client.quote(architecture.name, targets=TARGET)
    assert len(remote.faults.requests["UploadArchitecture"]) == 1
    asked = {request.architecture for request in remote.faults.requests["Quote"] if isinstance(request, plans_pb.QuoteRequest)}
    assert asked == {architecture.name}


@pytest.mark.parametrize("architecture", ["resnet20", "/no/such/file.json", 7])
def test_what_is_no_architecture_is_refused_without_a_call(client: Client, remote: Service, architecture: str) -> None:
    with pytest.raises(UsageError) as caught:
        client.submit(architecture, dataset="digits", targets=TARGET)
    assert str(architecture) in caught.value.message
    assert not remote.faults.requests


def test_a_wrong_mode_is_refused_before_the_upload(client: Client, remote: Service) -> None:
    with pytest.raises(UsageError, match="device, parameters, flops, memory"):
        client.submit(RESNET, dataset="digits", targets=TARGET, mode="energy")
    assert not remote.faults.requests


def test_a_quote_tells_the_limit_that_binds(client: Client, remote: Service) -> None:
    remote.plans.feasible = False
    first, second = client.quote(RESNET, targets=[TARGET, TARGET])
    assert first == second
    assert not first.feasible
    assert first.binding_limit == "flash_bytes"
    assert first.limits[0].smallest_reachable == 12_000


def test_resolve_returns_the_model_for_a_device(client: Client) -> None:
    found = client.resolve(RESNET, "digits", profile="stm32f746", budget=Budget(flash="128KiB"))
    assert found.model.name == NAME
    assert found.artifact.format == "litert-int8"
    assert found.compliance[0].margin == 0.375
    assert found.fitting_models == 2
    assert found.etag == ETAG


def test_what_a_device_has_already_is_not_sent_again(client: Client) -> None:
    assert client.resolve_if_changed(ETAG, RESNET, "digits", profile="stm32f746") is None
    found = client.resolve_if_changed("older", RESNET, "digits", profile="stm32f746")
    assert found is not None
    assert (found.model.name, found.etag) == (NAME, ETAG)


def test_resolve_takes_the_profile_of_a_target(client: Client, remote: Service) -> None:
    client.resolve(RESNET, "digits", budget=Target("stm32f746", flash="128KiB"))
    (request,) = remote.faults.requests["ResolveModel"]
    assert isinstance(request, models_pb.ResolveModelRequest)
    assert request.device_profile == "deviceProfiles/stm32f746"
    assert request.budget.limits[0].value == 128 * 1024


def test_resolve_needs_something_to_fit(client: Client, remote: Service) -> None:
    with pytest.raises(UsageError, match="profile or a budget"):
        client.resolve(RESNET, "digits", budget=Budget())
    assert not remote.faults.requests


def test_lists_are_read_page_by_page_as_needed(client: Client, remote: Service) -> None:
    for seed in range(5):
        client.submit(RESNET, dataset="digits", targets=TARGET, seed=seed)
    assert [job.snapshot.seed for job in islice(client.jobs(), 2)] == [4, 3]
    assert len(remote.faults.requests["ListJobs"]) == 1
    assert [job.snapshot.seed for job in client.jobs()] == [4, 3, 2, 1, 0]


def test_lists_are_filtered_and_ordered_by_the_service(client: Client, remote: Service) -> None:
    list(client.jobs("state = RUNNING", "end_time desc"))
    list(client.models("accuracy > 0.9", order_by="flash_bytes"))
    for method, asked in (
        ("ListJobs", ("state = RUNNING", "end_time desc")),
        ("ListModels", ("accuracy > 0.9", "flash_bytes")),
    ):
        (request,) = remote.faults.requests[method]
        assert (getattr(request, "filter"), getattr(request, "order_by")) == asked  # noqa: B009 -- of one type or another


def test_what_a_newer_service_says_survives(client: Client) -> None:
    profile = next(client.device_profiles())
    assert profile.runtime == "UNKNOWN(17)"


def test_catalogues_are_listed(client: Client) -> None:
    uploaded = client.upload(RESNET)
    assert [architecture.name for architecture in client.architectures()] == [uploaded.name]
    assert client.architecture(uploaded.name.rpartition("/")[2]).name == uploaded.name
    (model,) = client.models()
    assert client.model("aa01").snapshot == model.snapshot
    assert (model.widths, model.plan.cost.parameters, model.target_index) == ({"conv1": 7}, 40_000, 0)


def test_a_project_is_part_of_every_name(remote: Service) -> None:
    with Client(remote.address, project="plant-7") as client:
        job = client.submit(RESNET, dataset="digits", targets=TARGET)
        assert client.job("00000001").name == job.name == "projects/plant-7/jobs/00000001"


def test_the_address_is_the_argument_or_the_environment_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECATEUR_ADDRESS", raising=False)
    assert Client().address == "127.0.0.1:50551"
    monkeypatch.setenv("SECATEUR_ADDRESS", "10.0.0.1:1")
    assert Client().address == "10.0.0.1:1"
    assert Client("10.0.0.2:2").address == "10.0.0.2:2"


def test_the_project_is_the_argument_or_the_environment_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECATEUR_PROJECT", raising=False)
    assert Client().project == "default"
    monkeypatch.setenv("SECATEUR_PROJECT", "plant-7")
    assert (Client().project, Client(project="plant-8").project) == ("plant-7", "plant-8")


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
            call.result(20)


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
                    ended.result(20)


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
