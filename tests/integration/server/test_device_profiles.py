"""Device profiles: listing the built-in ones, and those that a project adds for itself."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import grpc
import pytest

from secateur.core.devices import PROFILES
from secateur.core.profiles import MAX_PROFILES_PER_PROJECT
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.v1 import device_profile_service_pb2 as pb
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import model_service_pb2 as models
from secateur.v1 import plan_service_pb2 as plans
from secateur.v1 import resources_pb2 as resources
from tests.support.server import DATASET, Api, Refusal, limit, refusal, train

FIGURES: dict[str, Any] = {
    "display_name": "My board",
    "clock_hz": 100_000_000,
    "flash_bytes": 2**20,
    "ram_bytes": 256 * 1024,
    "macs_per_second": 5e7,
    "runtime": pb.RUNTIME_TFLM,
    "source": "measured on the bench",
}


def list_profiles(api: Api, **fields: object) -> pb.ListDeviceProfilesResponse:
    response: pb.ListDeviceProfilesResponse = api.device_profiles.ListDeviceProfiles(pb.ListDeviceProfilesRequest(**fields))  # type: ignore[arg-type]
    return response


def all_names(api: Api, **fields: object) -> list[str]:
    """Reads the whole list, five at a time."""
    names: list[str] = []
    token = ""
    while True:
        page = list_profiles(api, page_size=5, page_token=token, **fields)
        assert len(page.device_profiles) <= 5
        names.extend(profile.name for profile in page.device_profiles)
        token = page.next_page_token
        if not token:
            return names


def add(
    api: Api, profile_id: str = "my-board", *, request_id: str = "", validate_only: bool = False, **figures: Any
) -> pb.DeviceProfile:
    request = pb.CreateDeviceProfileRequest(
        parent=api.parent,
        device_profile_id=profile_id,
        device_profile=pb.DeviceProfile(**{**FIGURES, **figures}),
        request_id=request_id,
        validate_only=validate_only,
    )
    profile: pb.DeviceProfile = api.device_profiles.CreateDeviceProfile(request)
    return profile


def get(api: Api, name: str) -> pb.DeviceProfile:
    profile: pb.DeviceProfile = api.device_profiles.GetDeviceProfile(pb.GetDeviceProfileRequest(name=name))
    return profile


def delete(api: Api, name: str) -> None:
    api.device_profiles.DeleteDeviceProfile(pb.DeleteDeviceProfileRequest(name=name))


def quote(api: Api, architecture: str, profile: str) -> plans.TargetQuote:
    target = plans.Target(device_profile=profile, budget=resources.Budget(limits=[limit(fraction=0.2)]))
    response: plans.QuoteResponse = api.plans.Quote(plans.QuoteRequest(architecture=architecture, targets=[target]))
    return response.quotes[0]


def outcome(found: Refusal) -> tuple[grpc.StatusCode, str, list[str]]:
    return found.code, found.reason, found.fields


def test_every_built_in_profile_is_listed_by_name(api: Api) -> None:
    profiles = {profile.name.removeprefix("deviceProfiles/"): profile for profile in list_profiles(api).device_profiles}

    assert list(profiles) == sorted(PROFILES)
    found, expected = profiles["stm32f746"], PROFILES["stm32f746"]
    assert (found.display_name, found.clock_hz, found.runtime) == (expected.title, expected.clock_hz, pb.RUNTIME_TFLM)
    assert (found.flash_bytes, found.usable_flash_bytes) == (expected.flash_bytes, expected.usable_flash_bytes)
    assert (found.ram_bytes, found.usable_ram_bytes) == (expected.ram_bytes, expected.usable_ram_bytes)
    assert (found.macs_per_second, found.source) == (expected.macs_per_second, expected.source)
    assert found.bytes_per_second == expected.bytes_per_second
    assert found.seconds_per_operator == expected.seconds_per_operator
    assert get(api, "deviceProfiles/stm32f746") == found


def test_pages_join_to_the_whole_list_and_the_projects_own_come_last(api: Api) -> None:
    own = [add(api, profile_id).name for profile_id in ("z", "a", "my-board")]
    add(Api(api.channel, f"{api.project}-theirs"), "theirs")
    built_in = [f"deviceProfiles/{name}" for name in sorted(PROFILES)]

    assert all_names(api) == built_in
    assert all_names(api, parent=api.parent) == built_in + sorted(own)


def test_a_page_goes_on_where_the_last_one_ended_whatever_was_deleted(api: Api) -> None:
    for profile_id in ("a", "b", "c"):
        add(api, profile_id)
    first = list_profiles(api, page_size=len(PROFILES) + 1, parent=api.parent)
    delete(api, first.device_profiles[-1].name)

    rest = list_profiles(api, page_token=first.next_page_token, parent=api.parent)

    assert [profile.name.rpartition("/")[2] for profile in rest.device_profiles] == ["b", "c"]


@pytest.mark.parametrize("token", ["made-up", "/made-up", "/", "somebody-else/stm32f746", "{own}"])
def test_a_page_token_of_nobody_is_refused(api: Api, token: str) -> None:
    token = token.format(own=api.project)
    assert refusal(lambda: list_profiles(api, page_token=token, parent=api.parent)).reason == "PAGE_TOKEN_INVALID"


def test_a_negative_page_is_refused(api: Api) -> None:
    assert refusal(lambda: list_profiles(api, page_size=-1)).fields == ["page_size"]


def test_an_added_profile_is_there_with_what_was_left_out_filled_in(api: Api) -> None:
    profile = add(api)

    assert profile.name == f"{api.parent}/deviceProfiles/my-board"
    assert {name: getattr(profile, name) for name in FIGURES} == FIGURES
    assert profile.bytes_per_second == 4 * FIGURES["clock_hz"]
    assert profile.seconds_per_operator == 1_000 / FIGURES["clock_hz"]
    assert 0 < profile.usable_flash_bytes < profile.flash_bytes
    assert profile.usable_ram_bytes == (256 - 60) * 1024
    assert get(api, profile.name) == profile

    exact = add(api, "exact", display_name="", bytes_per_second=1e8, seconds_per_operator=0.0, runtime=pb.RUNTIME_LITERT)
    assert (exact.display_name, exact.bytes_per_second, exact.seconds_per_operator) == ("exact", 1e8, 0.0)


def test_validate_only_shows_the_profile_and_adds_none(api: Api) -> None:
    assert add(api, validate_only=True).usable_ram_bytes == (256 - 60) * 1024
    assert len(all_names(api, parent=api.parent)) == len(PROFILES)
    add(api)
    assert refusal(lambda: add(api, validate_only=True)).reason == "DEVICE_PROFILE_EXISTS"


@pytest.mark.parametrize("profile_id", ["my-board", "stm32f746"])
def test_an_id_that_is_taken_is_refused(api: Api, profile_id: str) -> None:
    add(api)

    found = refusal(lambda: add(api, profile_id, ram_bytes=2**20))

    assert outcome(found) == (grpc.StatusCode.ALREADY_EXISTS, "DEVICE_PROFILE_EXISTS", ["device_profile_id"])
    assert profile_id in found.message


def test_a_repeated_request_returns_the_first_answer(api: Api) -> None:
    key = str(uuid.uuid4())
    first = add(api, request_id=key)

    assert add(api, request_id=key) == first
    other = refusal(lambda: add(api, request_id=key, ram_bytes=2**20))
    assert outcome(other) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", ["request_id"])
    delete(api, first.name)
    assert refusal(lambda: add(api, request_id=key)).reason == "DEVICE_PROFILE_NOT_FOUND"


@pytest.mark.parametrize(
    ("figures", "reason", "field"),
    [
        ({"flash_bytes": 0}, "REQUEST_INVALID", "flash_bytes"),
        ({"flash_bytes": 2**63}, "REQUEST_INVALID", "flash_bytes"),
        ({"ram_bytes": 0}, "REQUEST_INVALID", "ram_bytes"),
        ({"ram_bytes": 60 * 1024}, "DEVICE_PROFILE_INVALID", "ram_bytes"),
        ({"clock_hz": 0}, "REQUEST_INVALID", "clock_hz"),
        ({"clock_hz": 10**12}, "REQUEST_INVALID", "clock_hz"),
        ({"macs_per_second": -1.0}, "REQUEST_INVALID", "macs_per_second"),
        ({"macs_per_second": float("nan")}, "REQUEST_INVALID", "macs_per_second"),
        ({"macs_per_second": float("inf")}, "REQUEST_INVALID", "macs_per_second"),
        ({"bytes_per_second": 0.0}, "REQUEST_INVALID", "bytes_per_second"),
        ({"bytes_per_second": float("inf")}, "REQUEST_INVALID", "bytes_per_second"),
        ({"seconds_per_operator": -1e-6}, "REQUEST_INVALID", "seconds_per_operator"),
        ({"seconds_per_operator": float("nan")}, "REQUEST_INVALID", "seconds_per_operator"),
        ({"runtime": pb.RUNTIME_UNSPECIFIED}, "REQUEST_INVALID", "runtime"),
        ({"display_name": "x" * 64}, "REQUEST_INVALID", "display_name"),
        ({"source": "x" * 501}, "REQUEST_INVALID", "source"),
    ],
)
def test_figures_that_no_device_has_are_refused(api: Api, figures: dict[str, Any], reason: str, field: str) -> None:
    found = refusal(lambda: add(api, **figures))

    assert outcome(found) == (grpc.StatusCode.INVALID_ARGUMENT, reason, [f"device_profile.{field}"])


@pytest.mark.parametrize("profile_id", ["", "My-Board", "-board", "a/b", "x" * 64])
def test_an_id_of_another_form_is_refused(api: Api, profile_id: str) -> None:
    assert refusal(lambda: add(api, profile_id)).fields == ["device_profile_id"]


def test_a_project_may_add_only_so_many(api: Api) -> None:
    for number in range(MAX_PROFILES_PER_PROJECT):
        add(api, f"board-{number}")

    found = refusal(lambda: add(api))

    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DEVICE_PROFILE_QUOTA")
    delete(api, f"{api.parent}/deviceProfiles/board-0")
    add(api)


def test_what_is_built_in_stays_and_what_nobody_has_is_not_found(api: Api) -> None:
    built_in = refusal(lambda: delete(api, "deviceProfiles/stm32f746"))
    assert outcome(built_in) == (grpc.StatusCode.FAILED_PRECONDITION, "DEVICE_PROFILE_BUILT_IN", ["name"])

    own = add(api).name
    delete(api, own)
    for name in (own, f"{api.parent}/deviceProfiles/stm32f746", "deviceProfiles/abacus"):
        found = refusal(partial(get, api, name))
        assert outcome(found) == (grpc.StatusCode.NOT_FOUND, "DEVICE_PROFILE_NOT_FOUND", ["name"])
    assert outcome(refusal(lambda: delete(api, own))) == (grpc.StatusCode.NOT_FOUND, "DEVICE_PROFILE_NOT_FOUND", ["name"])


def test_plans_are_quoted_for_a_profile_of_the_project(api: Api) -> None:
    architecture = api.upload_zoo().name
    roomy = add(api).name
    tight = add(api, "tight", flash_bytes=90_000).name

    flash = {
        profile: next(
            found.asked
            for found in quote(api, architecture, profile).limits
            if found.resource == resources.RESOURCE_FLASH_BYTES
        )
        for profile in (roomy, tight)
    }

    assert flash == {roomy: 2**20 * 70 // 100, tight: 63_000}


def test_a_profile_of_another_project_is_not_found(api: Api) -> None:
    architecture = api.upload_zoo().name
    theirs = add(Api(api.channel, f"{api.project}-theirs")).name
    resolve = models.ResolveModelRequest(architecture=architecture, dataset=DATASET, device_profile=theirs)
    job = api.job(architecture=architecture, targets=[plans.Target(device_profile=theirs)])
    request = jobs.CreateJobRequest(parent=api.parent, job=job)

    refusals = [
        refusal(lambda: quote(api, architecture, theirs)),
        refusal(lambda: api.jobs.CreateJob(request)),
        refusal(lambda: api.models.ResolveModel(resolve)),
    ]

    assert {(found.code, found.reason) for found in refusals} == {(grpc.StatusCode.NOT_FOUND, "DEVICE_PROFILE_NOT_FOUND")}
    fields = ["targets[0].device_profile", "job.targets[0].device_profile", "device_profile"]
    assert [found.fields for found in refusals] == [[field] for field in fields]


def test_a_job_is_made_and_answered_for_a_profile_of_the_project(api: Api, store: Store, blobs: BlobStore) -> None:
    profile = add(api).name
    targets = [plans.Target(device_profile=profile, budget=resources.Budget(limits=[limit(fraction=0.2)]))]
    key = str(uuid.uuid4())
    job = api.create_job(targets=targets, request_id=key)
    assert job.targets[0].device_profile == profile

    delete(api, profile)  # neither the worker nor a repeated request needs it any more
    train(store, blobs, job)

    assert api.create_job(targets=targets, request_id=key).name == job.name
    (model,) = api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models
    assert model.device_profile == profile
    assert api.jobs.GetJob(jobs.GetJobRequest(name=job.name)).state == jobs.JOB_STATE_SUCCEEDED

    add(api)
    found = api.models.ResolveModel(
        models.ResolveModelRequest(architecture=job.architecture, dataset=DATASET, device_profile=profile)
    )
    assert found.model.name == model.name
    assert {compliance.origin for compliance in found.compliance} == {"device_profile"}


def test_other_figures_are_other_work(api: Api) -> None:
    def create() -> jobs.Job:
        targets = [plans.Target(device_profile=profile, budget=resources.Budget(limits=[limit(fraction=0.2)]))]
        return api.create_job(targets=targets)

    profile = add(api).name
    first = create()
    delete(api, profile)
    add(api)
    assert create().name == first.name
    delete(api, profile)
    add(api, macs_per_second=6e7)
    assert create().name != first.name
