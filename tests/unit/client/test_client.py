"""Calls that answer at once: what the client asks, and what it makes of the answer."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from secateur.client import Budget, Client, Target, UsageError
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb
from tests.unit.client.conftest import KERAS_JSON, RESNET, TARGET
from tests.unit.client.remote.models import ETAG, NAME
from tests.unit.client.remote.service import Service


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
