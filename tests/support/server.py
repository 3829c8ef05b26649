"""The real server on a port of this process, its stubs, and what a refused call says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from secateur.core.cost import cost_of
from secateur.core.jobs import JobState
from secateur.core.reports import (
    ArtifactFormat,
    ArtifactReport,
    Attempt,
    Measurement,
    OperatorProfile,
    OperatorTime,
    TargetReport,
    Tightening,
)
from secateur.core.resources import Compliance, Resource
from secateur.server.app import serving
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.ledger import JobLedger
from secateur.v1 import architecture_service_pb2 as architectures
from secateur.v1 import (
    architecture_service_pb2_grpc,
    dataset_service_pb2_grpc,
    device_profile_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    plan_service_pb2_grpc,
)
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import plan_service_pb2 as plans
from secateur.v1 import resources_pb2 as resources
from tests.support.store import a_plan

MACS = resources.RESOURCE_MACS
DATASET = "datasets/digits"
PATIENCE_S = 480.0
"""How long what must come may take where much else is done: less than pytest waits, so that a test tidies up."""


def make_settings(folder: Path, **chosen: object) -> ServerSettings:
    """Returns settings of a server with everything in the folder, on a port that is free; `chosen` replace them.

    By itself it sends no message: what is to be sent at once does not wait for that.
    """
    return ServerSettings.model_validate(
        {"data_dir": folder, "listen_address": "127.0.0.1:0", "relay_seconds": 3600, "grace_seconds": 2.0, **chosen}
    )


@dataclass(frozen=True)
class Running:
    """A server, and how to stop it gracefully."""

    address: str
    stop: Callable[[], None]


@contextmanager
def running(settings: ServerSettings) -> Iterator[Running]:
    """Runs a server in a thread while the block lasts."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    address: list[str] = []

    async def serve() -> None:
        async with serving(settings) as bound:
            address.append(bound)
            started.set()
            await stopping.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()
            started.set()

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(stopping.set)
            thread.join(PATIENCE_S)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(PATIENCE_S)
    try:
        yield Running(address[0], stop)
    finally:
        stop()
        assert not thread.is_alive()


@contextmanager
def server_process(
    *arguments: str, stderr: int | IO[str] = subprocess.PIPE, **settings: object
) -> Iterator[subprocess.Popen[str]]:
    """Runs `secateur-server` as a process, and ends it whatever happens.

    Args:
        arguments: Its command line.
        stderr: Where its log goes.
        settings: Settings by their names in lower case.
    """
    env = {**os.environ, **{f"SECATEUR_{name.upper()}": str(value) for name, value in settings.items()}}
    command = [str(Path(sys.executable).with_name("secateur-server")), *arguments]
    with subprocess.Popen(command, env=env, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


class Api:
    """Stubs of every service, and one project.

    Args:
        channel: Channel to a server.
        project: Id of the project.
    """

    def __init__(self, channel: grpc.Channel, project: str) -> None:
        self.channel = channel
        self.project = project
        self.parent = f"projects/{project}"
        self.architectures = architecture_service_pb2_grpc.ArchitectureServiceStub(channel)
        self.datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        self.device_profiles = device_profile_service_pb2_grpc.DeviceProfileServiceStub(channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.plans = plan_service_pb2_grpc.PlanServiceStub(channel)

    def upload_zoo(self, name: str = "resnet20", *, side: int = 8, classes: int = 10, **fields: Any) -> Any:
        """Uploads a network of the zoo that takes square grey images."""
        source = architectures.ZooSource(name=name, input_shape=[side, side, 1], classes=classes)
        spec = architectures.ArchitectureSpec(parent=self.parent, zoo=source, **fields)
        return self.architectures.UploadArchitecture(iter([architectures.UploadArchitectureRequest(spec=spec)]))

    def job(self, **fields: Any) -> jobs.Job:
        """Returns a job that asks for a fifth of the MACs on an STM32F746; `fields` replace what it asks for."""
        asked = {
            "architecture": fields.pop("architecture", None) or self.upload_zoo().name,
            "dataset": DATASET,
            "targets": [target(limit(fraction=0.2), profile="stm32f746")],
            **fields,
        }
        return jobs.Job(**asked)

    def create_job(self, *, request_id: str = "", validate_only: bool = False, **fields: Any) -> jobs.Job:
        """Creates a job, see `job`."""
        return self.jobs.CreateJob(
            jobs.CreateJobRequest(
                parent=self.parent, job=self.job(**fields), request_id=request_id, validate_only=validate_only
            )
        )

    def get_job(self, job: jobs.Job) -> jobs.Job:
        """Reads a job again."""
        found: jobs.Job = self.jobs.GetJob(jobs.GetJobRequest(name=job.name))
        return found

    def watch(self, job: jobs.Job, after: int = 0, *, timeout: float = 60) -> Iterator[jobs.JobEvent]:
        """Yields the events of a job."""
        stream = self.jobs.WatchJob(jobs.WatchJobRequest(name=job.name, after_sequence=after), timeout=timeout)
        return (response.event for response in stream)


def limit(resource: resources.Resource.ValueType = MACS, **bound: float) -> resources.Limit:
    """Returns a limit."""
    return resources.Limit(resource=resource, **bound)


def target(*limits: resources.Limit, profile: str = "") -> plans.Target:
    """Returns a target."""
    return plans.Target(
        device_profile=f"deviceProfiles/{profile}" if profile else "",
        budget=resources.Budget(limits=limits) if limits else None,
    )


@dataclass(frozen=True)
class Refusal:
    """What a refused call says."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]
    retry_seconds: float | None = None


def refusal(call: Callable[[], Any]) -> Refusal:
    """Makes a call that must be refused, and returns what it says."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return refusal_of(caught.value)


def refusal_of(error: Any) -> Refusal:
    """Returns what a refused call says."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert info.domain == "secateur"
    retry = error_details_pb2.RetryInfo()
    for detail in status.details[1:]:
        assert detail.Unpack(bad_request) or detail.Unpack(retry)
    fields = [violation.field for violation in bad_request.field_violations]
    seconds = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return Refusal(error.code(), error.details(), info.reason, dict(info.metadata), fields, seconds)


def train(
    store: Store,
    blobs: BlobStore,
    job: jobs.Job,
    *,
    accuracy: float = 0.96,
    flash_bytes: int = 70_000,
    state: JobState = JobState.SUCCEEDED,
) -> bytes:
    """Does what a worker does with a job of one target, and returns the bytes of the int8 file that it made up."""
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="test", lease_seconds=30)
    assert claim is not None
    int8 = job.name.encode().ljust(flash_bytes, b"8")
    floats = job.name.encode().ljust(3 * flash_bytes, b"f")
    report = TargetReport(
        target_index=0,
        plan=a_plan(claim.graph),
        unpruned_cost=cost_of(claim.graph),
        compliance=(Compliance(Resource.FLASH_BYTES, 131_072, len(int8), "bytes of the int8 file"),),
        artifacts=(
            ArtifactReport(ArtifactFormat.LITERT_FLOAT32, blobs.put(floats), len(floats), accuracy + 0.01, 360),
            ArtifactReport(ArtifactFormat.LITERT_INT8, blobs.put(int8), len(int8), accuracy, 360),
        ),
        measurements=(
            Measurement("arena_bytes", 40_000, "bytes", "smallest arena", "x86_64", ArtifactFormat.LITERT_INT8),
            Measurement("latency_ms", 1.5, "ms", "median", "x86_64", ArtifactFormat.LITERT_INT8, samples=(1.4, 1.5, 1.7)),
        ),
        message="Every limit is met",
        plans_tried=2,
        operator_profiles=(
            OperatorProfile(
                ArtifactFormat.LITERT_INT8,
                "each operator alone",
                "x86_64",
                (OperatorTime("CONV_2D", "stem", (1, 8, 8, 16), 0.5),),
            ),
        ),
        attempts=(
            Attempt(
                "a" * 64,
                trained=False,
                compliance=(Compliance(Resource.FLASH_BYTES, 131_072, 140_000, "bytes of the int8 file"),),
                tightened=(Tightening(Resource.FLASH_BYTES, 122_000),),
            ),
            Attempt("b" * 64, trained=True, compliance=()),
        ),
    )
    ledger.settle_target(claim, report)
    ledger.finish(claim, state)
    return int8
