"""Uploading data sets, going on with an upload that broke off, listing them, and jobs on them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from secateur.client import AlreadyExists, Client
from secateur.core.datasets import DATASETS, content
from secateur.core.specs import Augmentation
from secateur.server.datasets.archive import MAX_FILE_BYTES
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.uploads import PART_BYTES
from secateur.v1 import dataset_service_pb2 as pb
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import model_service_pb2 as models
from tests.support.datasets import arrays, images, npz
from tests.support.server import Api, Refusal, refusal, running, train
from tests.support.stack import until

CHUNK = 2**20
SET = npz(arrays(60, 9))
LARGE = npz(arrays(60, 9, side=400))
"""Two parts and a bit."""
FITTING = npz({**arrays(400, 50), "y_train": np.arange(400) % 10, "y_test": np.arange(50) % 10})
"""Ten classes of 8x8 grey images: what the networks of these tests take."""


def messages(
    api: Api, data: bytes, dataset_id: str = "my-set", *, offset: int = 0, until: int | None = None, **spec: Any
) -> Iterator[pb.UploadDatasetRequest]:
    facts = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **spec}
    yield pb.UploadDatasetRequest(spec=pb.DatasetSpec(parent=api.parent, dataset_id=dataset_id, write_offset=offset, **facts))
    for start in range(offset, len(data) if until is None else until, CHUNK):
        yield pb.UploadDatasetRequest(chunk=data[start : start + CHUNK][: None if until is None else until - start])


def upload(api: Api, data: bytes = SET, dataset_id: str = "my-set", **options: Any) -> pb.Dataset:
    dataset: pb.Dataset = api.datasets.UploadDataset(messages(api, data, dataset_id, **options))
    return dataset


def refused(api: Api, data: bytes = SET, **options: Any) -> Refusal:
    return refusal(lambda: upload(api, data, **options))


def committed(api: Api, data: bytes) -> int:
    request = pb.QueryDatasetUploadRequest(parent=api.parent, sha256=hashlib.sha256(data).hexdigest())
    return int(api.datasets.QueryDatasetUpload(request).committed_size)


def get(api: Api, name: str) -> pb.Dataset:
    dataset: pb.Dataset = api.datasets.GetDataset(pb.GetDatasetRequest(name=name))
    return dataset


def all_names(api: Api, page_size: int = 3, **fields: Any) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        request = pb.ListDatasetsRequest(page_size=page_size, page_token=token, **fields)
        page = api.datasets.ListDatasets(request)
        assert len(page.datasets) <= page_size
        names.extend(dataset.name for dataset in page.datasets)
        token = page.next_page_token
        if not token:
            return names


def test_an_uploaded_set_is_there_with_its_facts(api: Api, blobs: BlobStore) -> None:
    asked = pb.Augmentation(flip=True, crop=2, cutout=3)
    dataset = upload(api, display_name="My set", class_names=["cat", "dog", "eel"], augmentation=asked)

    assert dataset.name == f"{api.parent}/datasets/my-set"
    assert (dataset.display_name, list(dataset.input_shape), dataset.classes) == ("My set", [8, 8, 1], 3)
    assert (dataset.train_images, dataset.test_images, list(dataset.class_names)) == (60, 9, ["cat", "dog", "eel"])
    assert dataset.augmentation == asked
    assert (dataset.size_bytes, dataset.sha256) == (len(SET), hashlib.sha256(SET).hexdigest())
    assert b"".join(blobs.read(dataset.sha256)) == SET
    assert get(api, dataset.name) == dataset
    assert all_names(api, parent=api.parent)[-1] == dataset.name


def test_a_name_for_people_is_the_id_and_nothing_is_augmented_unless_told(api: Api) -> None:
    dataset = upload(api)
    assert (dataset.display_name, dataset.augmentation) == ("my-set", pb.Augmentation(flip=False, crop=0, cutout=0))


def test_the_built_in_sets_are_listed_first_and_shown(api: Api) -> None:
    built_in = [f"datasets/{name}" for name in sorted(DATASETS)]
    own = [upload(api, dataset_id=dataset_id).name for dataset_id in ("z", "a", "b", "c")]
    upload(Api(api.channel, f"{api.project}-theirs"))

    assert all_names(api) == built_in
    for page_size in (1, 3, 4, 200):
        assert all_names(api, page_size, parent=api.parent) == built_in + sorted(own)
    found, expected = get(api, "datasets/cifar10"), DATASETS["cifar10"]
    assert (found.display_name, found.train_images, found.sha256) == (expected.title, expected.train_images, "")
    assert found.augmentation == pb.Augmentation(flip=True, crop=4, cutout=8)


@pytest.mark.parametrize("token", ["made-up", "/made-up", "/", "somebody-else/a"])
def test_a_page_token_of_nobody_is_refused(api: Api, token: str) -> None:
    request = pb.ListDatasetsRequest(parent=api.parent, page_token=token)
    assert refusal(lambda: api.datasets.ListDatasets(request)).reason == "PAGE_TOKEN_INVALID"


def test_an_upload_that_breaks_off_goes_on_where_it_was(api: Api) -> None:
    broken = threading.Event()

    def breaking() -> Iterator[pb.UploadDatasetRequest]:
        yield from messages(api, LARGE, until=PART_BYTES + CHUNK)
        broken.wait(60)

    call = api.datasets.UploadDataset.future(breaking())
    until(lambda: committed(api, LARGE) > 0, "a part has been written")
    call.cancel()
    broken.set()
    # The end of a call that is cancelled may look like the end of the file: then the rest that came is kept as well.
    here = committed(api, LARGE)
    assert here in (PART_BYTES, PART_BYTES + CHUNK)

    dataset = upload(api, LARGE, offset=here)

    assert (dataset.size_bytes, dataset.train_images) == (len(LARGE), 60)


@pytest.mark.parametrize("length", [1_000_003, 2**20])
def test_chunks_may_have_any_length(api: Api, length: int) -> None:
    (spec, *_) = messages(api, LARGE)
    parts = (pb.UploadDatasetRequest(chunk=LARGE[start : start + length]) for start in range(0, len(LARGE), length))
    assert api.datasets.UploadDataset(chain([spec], parts)).sha256 == hashlib.sha256(LARGE).hexdigest()


def test_a_chunk_that_is_too_long_is_refused(api: Api) -> None:
    (spec, *_) = messages(api, LARGE)
    found = refusal(partial(api.datasets.UploadDataset, iter([spec, pb.UploadDatasetRequest(chunk=bytes(2**20 + 1))])))
    assert (found.code, found.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["chunk"])
    assert committed(api, LARGE) == 0


def test_an_upload_that_ends_early_is_truncated_and_goes_on_where_it_ended(api: Api) -> None:
    cut = PART_BYTES + CHUNK + 5
    found = refused(api, LARGE, until=cut)

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DATASET_TRUNCATED")
    assert found.metadata["committed_size"] == str(cut) == str(committed(api, LARGE))
    # A part that is sent again does no harm.
    assert upload(api, LARGE, offset=cut - 1_000).train_images == 60


def test_an_offset_behind_what_came_is_refused_and_says_where_to_go_on(api: Api) -> None:
    found = refused(api, offset=100)

    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRITE_OFFSET_INVALID")
    assert (found.metadata["committed_size"], found.fields) == ("0", ["spec.write_offset"])


def test_a_wrong_digest_is_refused_and_nothing_is_kept(api: Api) -> None:
    wrong = hashlib.sha256(b"something else").hexdigest()
    found = refused(api, sha256=wrong)

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DATASET_DIGEST_MISMATCH")
    request = pb.QueryDatasetUploadRequest(parent=api.parent, sha256=wrong)
    assert api.datasets.QueryDatasetUpload(request).committed_size == 0
    assert all_names(api, parent=api.parent) == all_names(api)


def test_what_the_file_holds_is_checked_and_a_file_that_fails_is_forgotten(api: Api) -> None:
    found = arrays(60, 9)
    found["y_train"][17] = -3
    wrong = npz(found)
    refusal_of_label = refused(api, wrong)

    assert (refusal_of_label.code, refusal_of_label.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DATASET_LABEL_INVALID")
    assert "y_train[17]" in refusal_of_label.message
    assert committed(api, wrong) == 0


def test_the_same_again_is_the_same_and_sends_nothing(api: Api) -> None:
    dataset = upload(api)

    assert upload(api) == dataset
    assert committed(api, SET) == len(SET)
    assert upload(api, offset=len(SET)) == dataset
    again = upload(api, dataset_id="again", offset=len(SET), class_names=["cat", "dog", "eel"])
    assert (again.sha256, list(again.class_names)) == (dataset.sha256, ["cat", "dog", "eel"])


def test_an_id_is_taken_once(api: Api) -> None:
    upload(api)
    other = npz(arrays(60, 12))

    taken = [refused(api, other), refused(api, display_name="Other"), refused(api, dataset_id="digits")]

    assert {(found.code, found.reason) for found in taken} == {(grpc.StatusCode.ALREADY_EXISTS, "DATASET_EXISTS")}
    assert committed(api, other) == 0


def test_validate_only_registers_nothing_and_keeps_the_bytes_for_the_upload(api: Api) -> None:
    assert upload(api, validate_only=True).train_images == 60
    assert all_names(api, parent=api.parent) == all_names(api)
    assert upload(api, offset=len(SET)).train_images == 60


@pytest.mark.parametrize(
    ("spec", "reason", "field"),
    [
        ({"class_names": ["cat", "dog"]}, "DATASET_CLASS_NAMES_INVALID", "spec.class_names"),
        ({"augmentation": pb.Augmentation(crop=8)}, "AUGMENTATION_INVALID", "spec.augmentation.crop"),
        ({"augmentation": pb.Augmentation(cutout=8)}, "AUGMENTATION_INVALID", "spec.augmentation.cutout"),
        ({"size_bytes": MAX_FILE_BYTES + 1}, "DATASET_TOO_LARGE", "spec.size_bytes"),
        ({"size_bytes": len(SET) - 1}, "DATASET_MALFORMED", "chunk"),
        ({"size_bytes": 0}, "REQUEST_INVALID", "spec.size_bytes"),
        ({"class_names": ["cat", "cat", "eel"]}, "REQUEST_INVALID", "spec.class_names"),
        ({"dataset_id": "My Set"}, "REQUEST_INVALID", "spec.dataset_id"),
    ],
)
def test_a_spec_that_does_not_fit_the_file_is_refused(api: Api, spec: dict[str, Any], reason: str, field: str) -> None:
    found = refused(api, **spec)
    assert (found.reason, found.fields) == (reason, [field])


def test_parts_out_of_order_are_refused(api: Api) -> None:
    spec, chunk = messages(api, SET)

    for requests in ([], [chunk], [spec, spec], [chunk, spec]):
        found = refusal(partial(api.datasets.UploadDataset, iter(requests)))
        assert found.reason == "DATASET_MALFORMED"


def test_another_project_has_to_bring_the_bytes_itself(api: Api) -> None:
    name = upload(api, FITTING).name
    theirs = Api(api.channel, f"{api.project}-theirs")
    assert committed(theirs, FITTING) == 0

    found = [
        refusal(lambda: get(api, name.replace(api.parent, theirs.parent))),
        refusal(lambda: theirs.create_job(dataset=name)),
        refusal(lambda: theirs.create_job(dataset=name.replace(api.parent, theirs.parent))),
    ]

    assert {(one.code, one.reason) for one in found} == {(grpc.StatusCode.NOT_FOUND, "DATASET_NOT_FOUND")}
    assert [one.fields for one in found] == [["name"], ["job.dataset"], ["job.dataset"]]


def test_what_is_not_there_is_not_found(api: Api) -> None:
    for name in ("datasets/imagenet", f"{api.parent}/datasets/imagenet"):
        found = refusal(partial(get, api, name))
        assert (found.code, found.reason, found.fields) == (grpc.StatusCode.NOT_FOUND, "DATASET_NOT_FOUND", ["name"])


def test_a_job_is_known_by_the_content_of_its_data_set(api: Api, store: Store, blobs: BlobStore) -> None:
    dataset = upload(api, FITTING, augmentation=pb.Augmentation(flip=True, crop=1))
    few = refusal(lambda: api.create_job(dataset=dataset.name, recipe=jobs.Recipe(validation_fraction=0.02)))
    assert (few.code, few.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DATASET_CLASS_MISSING")
    assert few.fields == ["job.recipe.validation_fraction"]
    job = api.create_job(dataset=dataset.name)

    with store.snapshot() as work:
        spec = work.jobs.get(api.project, job.name.rpartition("/")[2]).spec
    assert (spec.dataset, spec.dataset_id) == (content(dataset.sha256), "my-set")
    assert spec.recipe.augmentation == Augmentation(flip=True, crop=1)
    assert job.dataset == api.jobs.GetJob(jobs.GetJobRequest(name=job.name)).dataset == dataset.name
    assert api.create_job(dataset=dataset.name).name == job.name

    train(store, blobs, job)
    (model,) = api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models
    assert model.dataset == dataset.name
    resolve = models.ResolveModelRequest(
        architecture=job.architecture, dataset=dataset.name, device_profile="deviceProfiles/stm32f746"
    )
    assert api.models.ResolveModel(resolve).model.name == model.name
    resolve.dataset = "datasets/digits"
    assert refusal(lambda: api.models.ResolveModel(resolve)).reason == "FAMILY_EMPTY"


def test_the_sdk_uploads_a_folder_of_images_and_goes_on_with_an_upload(
    api: Api, settings: ServerSettings, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number, pixels in enumerate(images(13)):
            Image.fromarray(pixels[..., 0]).save(tmp_path / "pets" / name / f"{number}.png")
    (tmp_path / "large.npz").write_bytes(LARGE)
    refused(api, LARGE, until=CHUNK)
    told: list[int] = []

    with running(settings) as server, Client(server.address, api.project) as client:
        pets = client.upload_dataset("pets", tmp_path / "pets", flip=True)
        client.upload_dataset("large", tmp_path / "large.npz", on_progress=lambda sent, _: told.append(sent))
        with pytest.raises(AlreadyExists):
            client.upload_dataset("pets", tmp_path / "large.npz")
        assert client.dataset("pets") == pets

    assert (pets.class_names, pets.input_shape, pets.train_images, pets.test_images) == (("cat", "dog"), (8, 8, 1), 21, 5)
    assert (told[0], told[-1]) == (CHUNK, len(LARGE))


def test_a_network_that_does_not_fit_is_refused(api: Api) -> None:
    name = upload(api).name
    found = refusal(lambda: api.create_job(dataset=name))
    assert (found.reason, found.fields) == ("DATASET_SHAPE_MISMATCH", ["job.dataset"])
    assert "my-set has 3" in found.message
