"""Who may call what, and of which project: every RPC, with every kind of token."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from typer.testing import CliRunner

from buf.validate import validate_pb2
from secateur.client import Budget, Client, NotFound, PermissionDenied, Target, Zoo
from secateur.client.cli import app as cli
from secateur.core.access import Scope
from secateur.server.grants import GRANTS
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.v1 import dataset_service_pb2 as datasets
from secateur.v1 import device_profile_service_pb2 as profiles
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import model_service_pb2 as models
from secateur.v1 import resources_pb2 as resources
from tests.support.access import METHODS, authorized, call, field_at, issue, method_id, path_of, request_of
from tests.support.datasets import arrays, npz
from tests.support.server import DATASET, Api, Refusal, limit, refusal, running, target, train
from tests.support.stack import until

BY_DEVICES: Final = {"GetModel", "ListModels", "ResolveModel", "DownloadArtifact"}
NEEDS_A_TOKEN: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("method", METHODS, ids=method_id)
def test_every_rpc_lets_in_exactly_the_scopes_that_it_should(
    guarded: grpc.Channel, store: Store, method: MethodDescriptor, scope: Scope
) -> None:
    channel = authorized(guarded, issue(store, scope, "default"))
    allowed = scope is not Scope.DEVICE or method.name in BY_DEVICES

    # An empty request: who is let in is told what it lacks, or gets an answer.
    try:
        call(channel, method, request_of(method))
    except grpc.RpcError as error:
        code: Any = error
        assert (code.code() not in NEEDS_A_TOKEN) if allowed else (code.code() is grpc.StatusCode.PERMISSION_DENIED)
    else:
        assert allowed


def test_a_scope_that_is_too_small_is_named(guarded: grpc.Channel, store: Store) -> None:
    device = Api(authorized(guarded, issue(store, Scope.DEVICE, "default")), "default")

    found = refusal(lambda: device.jobs.ListJobs(jobs.ListJobsRequest(parent=device.parent)))

    assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_INSUFFICIENT")
    assert found.message == "This needs a token of scope admin or operator. Received: one of scope device"


def test_probes_need_no_token_and_reflection_one_of_an_operator(guarded: grpc.Channel, store: Store) -> None:
    probe: Any = health_pb2_grpc.HealthStub(guarded)
    assert probe.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING

    def reflected(channel: grpc.Channel) -> list[Any]:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        return list(stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))

    assert refusal(lambda: reflected(guarded)).reason == "TOKEN_MISSING"
    device = authorized(guarded, issue(store, Scope.DEVICE, "default"))
    assert refusal(lambda: reflected(device)).reason == "SCOPE_INSUFFICIENT"
    assert reflected(authorized(guarded, issue(store, Scope.OPERATOR, "default")))


@dataclass(frozen=True)
class Theirs:
    """What another project has."""

    api: Api
    names: tuple[str, ...]

    def request(self, method: MethodDescriptor, *, missing: bool = False) -> Any:
        """Returns a request about something that the project has, or about the like that it has not."""
        path = GRANTS[path_of(method)].path
        pattern = field_at(method, path).GetOptions().Extensions[validate_pb2.field].string.pattern
        name = next(name for name in self.names if re.fullmatch(pattern, name))
        if missing:
            name = re.sub(r"(projects/[^/]+/[^/]+/)[^/]+", rf"\g<1>{self.absent(name)}", name)
        request = request_of(method, **others(method, self.api))
        holder = request
        for field in path[:-1]:
            holder = getattr(holder, field)
        setattr(holder, path[-1], name)
        return request

    @staticmethod
    def absent(name: str) -> str:
        return "f" * 16 if "/architectures/" in name else "00000000"


def others(method: MethodDescriptor, api: Api) -> dict[str, Any]:
    """Returns what a request of a method must have beside the name that tells its project."""
    digest = hashlib.sha256(b"x").hexdigest()
    fields: dict[str, dict[str, Any]] = {
        "UploadArchitecture": {"spec": {"zoo": {"name": "resnet20", "input_shape": [8, 8, 1], "classes": 10}}},
        "UploadDataset": {"spec": {"dataset_id": "mine", "size_bytes": 1, "sha256": digest}},
        "QueryDatasetUpload": {"sha256": digest},
        "CreateDeviceProfile": {"device_profile_id": "mine", "device_profile": a_profile()},
        "CreateJob": {
            "job": {
                "architecture": f"{api.parent}/architectures/{'f' * 16}",
                "dataset": DATASET,
                "targets": [target(limit(fraction=0.2), profile="stm32f746")],
            }
        },
        "Quote": {"targets": [target(limit(fraction=0.2), profile="stm32f746")]},
        "ResolveModel": {"dataset": DATASET, "budget": resources.Budget(limits=[limit(value=1e9)])},
    }
    return fields.get(method.name, {})


def a_profile() -> profiles.DeviceProfile:
    return profiles.DeviceProfile(
        clock_hz=10**8, flash_bytes=2**20, ram_bytes=2**18, macs_per_second=1e8, runtime=profiles.RUNTIME_TFLM
    )


@pytest.fixture(scope="module")
def theirs(guarded: grpc.Channel, store: Store, blobs: BlobStore) -> Theirs:
    """One of everything in another project."""
    project = f"theirs-{uuid.uuid4().hex[:8]}"
    api = Api(authorized(guarded, issue(store, Scope.ADMIN, None)), project)
    job = api.create_job()
    train(store, blobs, job)
    (model,) = api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models
    profile = api.device_profiles.CreateDeviceProfile(
        profiles.CreateDeviceProfileRequest(parent=api.parent, device_profile_id="board", device_profile=a_profile())
    )
    file = npz(arrays())
    spec = datasets.DatasetSpec(
        parent=api.parent, dataset_id="pictures", size_bytes=len(file), sha256=hashlib.sha256(file).hexdigest()
    )
    dataset = api.datasets.UploadDataset(
        iter([datasets.UploadDatasetRequest(spec=spec), datasets.UploadDatasetRequest(chunk=file)])
    )
    names = (api.parent, job.architecture, job.name, model.name, model.artifacts[0].name, profile.name, dataset.name)
    return Theirs(api, names)


@pytest.mark.parametrize("method", METHODS, ids=method_id)
def test_what_another_project_has_is_not_found_like_what_nobody_has(theirs: Theirs, api: Api, method: MethodDescriptor) -> None:
    request, absent = theirs.request(method), theirs.request(method, missing=True)

    found = refusal(lambda: call(api.channel, method, request))
    not_there = refusal(lambda: call(api.channel, method, absent))

    assert found.code is grpc.StatusCode.NOT_FOUND
    assert without_id(found) == without_id(not_there)
    if request != absent:  # not about the project itself, which only who has no business there is told not to exist
        # Somebody who sees every project gets the very answer for what is not there.
        assert not_there == refusal(lambda: call(theirs.api.channel, method, absent))
    else:
        assert found.reason == "PROJECT_NOT_FOUND"


def without_id(found: Refusal) -> tuple[object, ...]:
    return (found.code, found.reason, found.message.partition("Received: ")[0], found.metadata, found.fields)


@pytest.mark.parametrize("beside", ["architecture", "dataset", "device_profile"])
def test_what_a_request_names_beside_must_be_of_the_same_project(theirs: Theirs, api: Api, beside: str) -> None:
    collection = {"architecture": "/architectures/", "dataset": "/datasets/", "device_profile": "/deviceProfiles/"}[beside]
    name = next(name for name in theirs.names if collection in name)
    fields: dict[str, Any] = {beside: name}
    if beside == "device_profile":
        asked = target(limit(fraction=0.2))
        asked.device_profile = name
        fields = {"targets": [asked]}

    found = refusal(lambda: api.create_job(**fields))

    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, f"{beside.upper()}_NOT_FOUND")


def test_what_is_built_in_is_for_every_project(api: Api) -> None:
    assert api.datasets.GetDataset(datasets.GetDatasetRequest(name=DATASET)).classes == 10
    assert api.datasets.ListDatasets(datasets.ListDatasetsRequest()).datasets
    assert api.create_job().name.startswith(f"{api.parent}/")


def test_a_token_for_all_projects_sees_each_and_one_for_a_project_only_that(
    theirs: Theirs, guarded: grpc.Channel, store: Store
) -> None:
    request = models.ListModelsRequest(parent=theirs.api.parent)
    assert len(theirs.api.models.ListModels(request).models) == 1
    bound = Api(authorized(guarded, issue(store, Scope.ADMIN, "default")), "default")
    found = refusal(lambda: bound.models.ListModels(request))
    assert (found.reason, found.message) == (
        "PROJECT_NOT_FOUND",
        f"There is no such project, or this token is for another. Received: {theirs.api.parent}",
    )


def test_a_device_gets_the_models_of_its_project(theirs: Theirs, guarded: grpc.Channel, store: Store) -> None:
    token = issue(store, Scope.DEVICE, theirs.api.project)
    device = Api(authorized(guarded, token), theirs.api.project)
    (model,) = device.models.ListModels(models.ListModelsRequest(parent=device.parent)).models
    assert device.models.GetModel(models.GetModelRequest(name=model.name)).artifacts == model.artifacts
    resolved = device.models.ResolveModel(
        models.ResolveModelRequest(
            architecture=model.architecture, dataset=DATASET, budget=resources.Budget(limits=[limit(value=1e9)])
        )
    )
    parts = device.models.DownloadArtifact(models.DownloadArtifactRequest(name=resolved.artifact.name))
    file = b"".join(part.data for part in parts)
    assert hashlib.sha256(file).hexdigest() == resolved.artifact.sha256


def test_a_device_with_the_sdk_needs_nothing_but_names_in_full(
    theirs: Theirs, address: str, store: Store, tmp_path: Path
) -> None:
    (architecture,) = [name for name in theirs.names if "/architectures/" in name]
    with Client(address, theirs.api.project, token=issue(store, Scope.DEVICE, theirs.api.project).text) as client:
        resolved = client.resolve(architecture, DATASET, budget=Budget(macs="1G"))
        (path,) = resolved.model.download(tmp_path, formats=[resolved.artifact.format])
        assert hashlib.sha256(path.read_bytes()).hexdigest() == resolved.artifact.sha256
        with pytest.raises(PermissionDenied, match=rf"in full: {DATASET} or projects/.*/{DATASET}\. Received: digits$"):
            client.resolve(architecture, "digits", budget=Budget(macs="1G"))


def test_what_changes_something_is_audited_with_who_what_and_how_it_went(
    theirs: Theirs, guarded: grpc.Channel, store: Store
) -> None:
    project = f"p-{uuid.uuid4().hex[:12]}"
    operator, device = issue(store, Scope.OPERATOR, project), issue(store, Scope.DEVICE, project)
    api = Api(authorized(guarded, operator), project)
    job = api.create_job()
    cancel = jobs.CancelJobRequest(name=job.name)
    api.jobs.CancelJob(cancel, metadata=(("x-request-id", "quoted-1"),))
    api.jobs.GetJob(jobs.GetJobRequest(name=job.name))
    (foreign,) = [name for name in theirs.names if "/jobs/" in name]
    refusal(lambda: api.jobs.CancelJob(jobs.CancelJobRequest(name=foreign)))
    refusal(lambda: Api(authorized(guarded, device), project).jobs.CancelJob(cancel))

    def records() -> list[tuple[str, ...]]:
        with store.snapshot() as work:
            found = work.audit.list(project=project, limit=100)
        return [(row.token, row.method.rpartition("/")[2], row.resource, row.code) for row in reversed(found)]

    until(lambda: len(records()) == 5, "the audit log is written")
    assert records() == [
        (operator.id, "UploadArchitecture", job.architecture, "OK"),
        (operator.id, "CreateJob", job.name, "OK"),
        (operator.id, "CancelJob", job.name, "OK"),
        (operator.id, "CancelJob", foreign, "NOT_FOUND"),
        (device.id, "CancelJob", "", "PERMISSION_DENIED"),
    ]
    with store.snapshot() as work:
        quoted = [row for row in work.audit.list(token=operator.id, limit=100) if row.request_id == "quoted-1"]
    assert [row.method for row in quoted] == ["/secateur.v1.JobService/CancelJob"]


def test_a_command_carries_the_token_of_a_file(address: str, store: Store, tmp_path: Path) -> None:
    project = f"p-{uuid.uuid4().hex[:12]}"
    (tmp_path / "token").write_text(f"{issue(store, Scope.OPERATOR, project).text}\n")
    command = ["--address", address, "--project", project]

    good = CliRunner().invoke(cli, [*command, "--token-file", str(tmp_path / "token"), "jobs", "list", "--json"])
    none = CliRunner().invoke(cli, [*command, "jobs", "list", "--json"])

    # The server of this process logs to the same standard output.
    assert (good.exit_code, "[]" in good.stdout.splitlines()) == (0, True)
    assert (none.exit_code, '"reason": "TOKEN_MISSING"' in none.stderr) == (1, True)


def test_a_server_that_stops_writes_what_it_still_has_to_audit(settings: ServerSettings, store: Store) -> None:
    project = f"p-{uuid.uuid4().hex[:12]}"
    with running(settings) as server, grpc.insecure_channel(server.address) as channel:
        job = Api(channel, project).create_job()
        server.stop()
        with store.snapshot() as work:
            (created, uploaded) = work.audit.list(project=project, limit=100)
    assert (created.token, created.resource, created.code) == ("", job.name, "OK")
    assert uploaded.resource == job.architecture


def test_the_sdk_carries_its_token_with_calls_of_every_shape(address: str, store: Store, tmp_path: Path) -> None:
    project = f"p-{uuid.uuid4().hex[:12]}"
    token = issue(store, Scope.OPERATOR, project).text
    (tmp_path / "mine.npz").write_bytes(npz(arrays()))
    with Client(address, project, token=token) as client:
        dataset = client.upload_dataset("mine", tmp_path / "mine.npz")
        job = client.submit(
            Zoo("resnet20", input_shape=(8, 8, 1), classes=3), dataset="mine", targets=Target("stm32f746", macs="20%")
        )
        assert dataset.name == f"projects/{project}/datasets/mine"
        assert next(iter(job.watch())).sequence == 1
    with Client(address, "default", token=token) as client, pytest.raises(NotFound) as caught:
        list(client.jobs())
    assert caught.value.reason == "PROJECT_NOT_FOUND"
    with Client(address, project, token=issue(store, Scope.DEVICE, project).text) as client, pytest.raises(PermissionDenied):
        list(client.jobs())
