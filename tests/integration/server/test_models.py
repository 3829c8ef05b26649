"""Models: reading them, resolving the one that fits, and downloading its files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

import grpc
import pytest

from secateur.core.jobs import JobState
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.files import CHUNK_BYTES
from secateur.v1 import model_service_pb2 as pb
from secateur.v1 import resources_pb2 as resources
from tests.support.postgres import ON_BOTH_DATABASES
from tests.support.server import DATASET, Api, limit, refusal, train

pytestmark = ON_BOTH_DATABASES

NOBODY = "00000000-0000-0000-0000-000000000000"
FLASH = resources.RESOURCE_FLASH_BYTES
ACCURACY = resources.RESOURCE_ACCURACY


@dataclass
class Family:
    """Two models of one architecture: a small one and a more accurate one."""

    architecture: str
    small: pb.Model
    large: pb.Model
    large_file: bytes


@pytest.fixture
def family(api: Api, store: Store, blobs: BlobStore) -> Family:
    jobs = [api.create_job(seed=0), api.create_job(seed=1)]
    train(store, blobs, jobs[0], accuracy=0.95, flash_bytes=50_000)
    large_file = train(store, blobs, jobs[1], accuracy=0.97, flash_bytes=90_000)
    listed = api.models.ListModels(pb.ListModelsRequest(parent=api.parent)).models
    large, small = (api.models.GetModel(pb.GetModelRequest(name=model.name)) for model in listed)
    return Family(jobs[0].architecture, small, large, large_file)


def resolve(
    api: Api, architecture: str, *limits: resources.Limit, profile: str = "", dataset: str = DATASET
) -> pb.ResolveModelResponse:
    request = pb.ResolveModelRequest(
        architecture=architecture,
        dataset=dataset,
        device_profile=f"deviceProfiles/{profile}" if profile else "",
        budget=resources.Budget(limits=limits) if limits else None,
    )
    response: pb.ResolveModelResponse = api.models.ResolveModel(request)
    return response


def download(api: Api, artifact: pb.Artifact, offset: int = 0, limit: int = 0) -> list[pb.DownloadArtifactResponse]:
    return list(
        api.models.DownloadArtifact(pb.DownloadArtifactRequest(name=artifact.name, read_offset=offset, read_limit=limit))
    )


def test_a_model_shows_where_it_came_from_and_what_was_measured(api: Api, family: Family) -> None:
    model = family.large

    assert model.job.startswith(f"{api.parent}/jobs/")
    assert (model.architecture, model.dataset, model.device_profile) == (
        family.architecture,
        DATASET,
        "deviceProfiles/stm32f746",
    )
    assert model.met
    assert model.plan.cost.parameters < model.unpruned_cost.parameters
    floats, int8 = model.artifacts
    assert (floats.format, int8.format) == (pb.ARTIFACT_FORMAT_LITERT_FLOAT32, pb.ARTIFACT_FORMAT_LITERT_INT8)
    assert (int8.name, int8.size_bytes, int8.accuracy) == (f"{model.name}/artifacts/litert-int8", 90_000, 0.97)
    assert int8.sha256 == hashlib.sha256(family.large_file).hexdigest()
    arena, latency = model.measurements
    assert (arena.name, arena.value, arena.unit) == ("arena_bytes", 40_000, "bytes")
    assert (latency.format, list(latency.samples)) == (pb.ARTIFACT_FORMAT_LITERT_INT8, [1.4, 1.5, 1.7])
    assert model.compliance[0].met
    (profile,) = model.operator_profiles
    assert (profile.format, profile.method, profile.machine) == (latency.format, "each operator alone", "x86_64")
    (operator,) = profile.operators
    assert (operator.operator, operator.layer, list(operator.output_shape)) == ("CONV_2D", "stem", [1, 8, 8, 16])
    assert operator.milliseconds == 0.5


def test_a_list_leaves_out_samples_and_operators(api: Api, family: Family) -> None:
    for model in api.models.ListModels(pb.ListModelsRequest(parent=api.parent)).models:
        assert not model.operator_profiles
        assert [(figure.name, list(figure.samples)) for figure in model.measurements] == [
            ("arena_bytes", []),
            ("latency_ms", []),
        ]


def test_models_are_listed_newest_first_in_pages(api: Api, family: Family) -> None:
    first = api.models.ListModels(pb.ListModelsRequest(parent=api.parent, page_size=1))
    second = api.models.ListModels(pb.ListModelsRequest(parent=api.parent, page_size=1, page_token=first.next_page_token))

    assert [model.name for model in (*first.models, *second.models)] == [family.large.name, family.small.name]
    assert second.next_page_token == ""


def test_a_model_of_nobody_or_of_another_project_is_not_found(api: Api, family: Family) -> None:
    for name in (f"{api.parent}/models/{NOBODY}", family.large.name.replace(api.parent, "projects/somebody-else")):
        request = pb.GetModelRequest(name=name)
        found = refusal(partial(api.models.GetModel, request))
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


def test_the_most_accurate_model_that_fits_is_resolved(api: Api, family: Family) -> None:
    roomy = resolve(api, family.architecture, profile="stm32f746")
    tight = resolve(api, family.architecture, limit(FLASH, value=60_000), profile="stm32f746")

    assert (roomy.model, roomy.fitting_models) == (family.large, 2)
    assert (tight.model, tight.fitting_models) == (family.small, 1)
    assert tight.artifact == family.small.artifacts[1]
    by_resource = {compliance.resource: compliance for compliance in tight.compliance}
    flash, ram = by_resource[FLASH], by_resource[resources.RESOURCE_RAM_BYTES]
    assert (flash.asked, flash.achieved, flash.origin) == (60_000, 50_000, "budget")
    assert (ram.achieved, ram.method, ram.origin) == (40_000, "smallest arena", "device_profile")


def test_the_arena_of_a_micro_controller_says_nothing_of_a_board_that_runs_linux(api: Api, family: Family) -> None:
    found = refusal(lambda: resolve(api, family.architecture, profile="raspberrypi5"))

    assert (found.reason, found.metadata["binding_limit"]) == ("NO_MODEL_FITS", "ram_bytes")


def test_latency_is_predicted_from_the_profile_that_asks(api: Api, family: Family) -> None:
    latency = limit(resources.RESOURCE_LATENCY_MS, value=1000)

    slow, fast = (
        next(
            found
            for found in resolve(api, family.architecture, latency, profile=profile).compliance
            if found.resource == resources.RESOURCE_LATENCY_MS
        )
        for profile in ("stm32f746", "stm32h743")
    )

    assert "predicted" in slow.method
    assert slow.achieved > fast.achieved
    found = refusal(lambda: resolve(api, family.architecture, latency))
    assert found.reason == "LIMIT_NEEDS_PROFILE"


@pytest.mark.parametrize(
    ("tight", "asked", "on_offer"),
    [(limit(FLASH, value=10_000), "10000", "50000"), (limit(ACCURACY, value=0.99), "0.99", "0.97")],
)
def test_where_nothing_fits_the_limit_and_the_best_on_offer_are_named(
    api: Api, family: Family, tight: resources.Limit, asked: str, on_offer: str
) -> None:
    found = refusal(lambda: resolve(api, family.architecture, tight, profile="stm32f746"))

    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_MODEL_FITS")
    assert (found.metadata["asked"], found.metadata["on_offer"]) == (asked, on_offer)


def test_the_nearest_point_of_an_infeasible_job_serves_a_device_that_it_fits(api: Api, store: Store, blobs: BlobStore) -> None:
    job = api.create_job()
    train(store, blobs, job, state=JobState.INFEASIBLE)

    assert resolve(api, job.architecture, profile="stm32f746").fitting_models == 1


def test_what_cannot_be_resolved_says_why(api: Api, family: Family) -> None:
    empty = api.upload_zoo(classes=5).name
    fitting = limit(FLASH, value=60_000)
    calls = [
        (lambda: resolve(api, empty, fitting), grpc.StatusCode.NOT_FOUND, "FAMILY_EMPTY"),
        (
            lambda: resolve(api, f"{api.parent}/architectures/{'0' * 16}", fitting),
            grpc.StatusCode.NOT_FOUND,
            "ARCHITECTURE_NOT_FOUND",
        ),
        (lambda: resolve(api, family.architecture), grpc.StatusCode.INVALID_ARGUMENT, "BUDGET_EMPTY"),
        (
            lambda: resolve(api, family.architecture, profile="abacus"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "DEVICE_PROFILE_UNKNOWN",
        ),
        (
            lambda: resolve(api, family.architecture, fitting, dataset="datasets/x"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "DATASET_UNKNOWN",
        ),
        (
            lambda: resolve(api, family.architecture, limit(FLASH, fraction=0.5), profile="stm32f746"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "LIMIT_INVALID",
        ),
    ]
    for call, code, reason in calls:
        found = refusal(call)
        assert (found.code, found.reason) == (code, reason)


def test_a_file_arrives_in_chunks_with_its_length_and_digest(api: Api, store: Store, blobs: BlobStore) -> None:
    file = train(store, blobs, api.create_job(), flash_bytes=CHUNK_BYTES + 17)
    (model,) = api.models.ListModels(pb.ListModelsRequest(parent=api.parent)).models

    header, *chunks = download(api, model.artifacts[1])

    assert (header.size_bytes, header.sha256) == (len(file), hashlib.sha256(file).hexdigest())
    assert [len(chunk.data) for chunk in chunks] == [CHUNK_BYTES, 17]
    assert b"".join(chunk.data for chunk in chunks) == file


@pytest.mark.parametrize(("offset", "limit"), [(0, 10), (89_990, 0), (89_990, 100), (5, 1), (90_000, 0)])
def test_a_download_resumes_anywhere(api: Api, family: Family, offset: int, limit: int) -> None:
    header, *chunks = download(api, family.large.artifacts[1], offset, limit)

    assert header.size_bytes == 90_000
    assert b"".join(chunk.data for chunk in chunks) == family.large_file[offset:][: limit or None]


def test_a_file_that_is_not_there_or_an_offset_behind_its_end_is_refused(api: Api, family: Family) -> None:
    artifact = family.large.artifacts[1]
    behind = refusal(lambda: download(api, artifact, offset=90_001))
    other = refusal(lambda: download(api, pb.Artifact(name=f"{family.large.name}/artifacts/onnx")))
    nobodys = refusal(lambda: download(api, pb.Artifact(name=f"{api.parent}/models/{NOBODY}/artifacts/litert-int8")))

    assert (behind.code, behind.reason, behind.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "READ_OFFSET_INVALID",
        ["read_offset"],
    )
    assert (other.code, other.reason) == (grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND")
    assert (nobodys.code, nobodys.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
