"""Data sets: uploading what the service lacks, naming them, and the command line."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from secateur.client import (
    AlreadyExists,
    Client,
    Dataset,
    Internal,
    InvalidArgument,
    Retry,
    Target,
    Unavailable,
    UsageError,
    aio,
)
from secateur.client.datasets import Augmentation
from secateur.v1 import dataset_service_pb2 as pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from tests.support.datasets import arrays, npz
from tests.support.stack import until
from tests.unit.client.command_line import run
from tests.unit.client.conftest import RESNET
from tests.unit.client.remote.service import Service

OWN = "projects/default/datasets/my-set"
CHUNK = 2**20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An .npz of four chunks and a bit."""
    path = tmp_path / "large.npz"
    path.write_bytes(npz(arrays(60, 9, side=256)))
    return path


def uploads(remote: Service) -> list[pb.DatasetSpec]:
    specs = []
    for request in remote.faults.requests["UploadDataset"]:
        assert isinstance(request, pb.UploadDatasetRequest)
        specs.append(request.spec)
    return specs


@pytest.mark.parametrize(("kind", "side"), [("pictures", 4), ("large", 256)])
def test_an_augmentation_that_leaves_nothing_of_an_image_sends_none(
    client: Client, remote: Service, request: pytest.FixtureRequest, kind: str, side: int
) -> None:
    path = request.getfixturevalue(kind)
    with pytest.raises(UsageError, match=f"crop .* {side} pixels") as caught:
        client.upload_dataset("my-set", path, crop=side)
    assert (caught.value.reason, caught.value.field) == ("AUGMENTATION_INVALID", "crop")
    with pytest.raises(UsageError, match=f"cutout .* {side} pixels"):
        client.upload_dataset("my-set", path, cutout=side)
    assert not remote.faults.requests
    client.upload_dataset("my-set", path, crop=side - 1)


def test_a_data_set_is_sent_whole_with_what_was_said_of_it(client: Client, remote: Service, large: Path) -> None:
    told: list[tuple[int, int]] = []
    dataset = client.upload_dataset(
        "my-set", large, display_name="My set", class_names=["a", "b", "c"], flip=True, crop=4, cutout=8,
        on_progress=lambda sent, size: told.append((sent, size)),
    )  # fmt: skip

    (spec,) = uploads(remote)
    assert (spec.parent, spec.dataset_id, spec.display_name) == ("projects/default", "my-set", "My set")
    assert spec.augmentation == pb.Augmentation(flip=True, crop=4, cutout=8)
    assert remote.datasets.received[dataset.sha256] == large.read_bytes()
    assert (dataset.name, dataset.class_names, dataset.augmentation) == (OWN, ("a", "b", "c"), Augmentation(True, 4, 8))
    size = large.stat().st_size
    assert told[0] == (0, size)
    assert told[-1] == (size, size)


def test_an_upload_that_breaks_goes_on_where_it_broke(client: Client, remote: Service, large: Path) -> None:
    remote.datasets.break_after = [2, 0, 1]
    client.upload_dataset("my-set", large)
    assert [spec.write_offset for spec in uploads(remote)] == [0, 2 * CHUNK, 2 * CHUNK, 3 * CHUNK]
    assert list(remote.datasets.received.values()) == [large.read_bytes()]


def test_a_defect_that_an_upload_meets_is_told_as_it_is(client: Client, remote: Service, large: Path) -> None:
    remote.datasets.break_after = [0] * 100
    remote.faults.fail("broken upload", "INTERNAL", reason="INTERNAL", metadata={"request_id": "r-1"}, times=100)
    with pytest.raises(Internal) as caught:  # where it comes between two chunks; gRPC loses it during one
        client.upload_dataset("my-set", large, on_progress=lambda sent, size: time.sleep(0.1 if sent else 0))
    assert caught.value.metadata == {"request_id": "r-1"}


def test_an_upload_that_gets_on_is_not_given_up_however_often_it_breaks(remote: Service, large: Path) -> None:
    remote.datasets.break_after = [1, 1, 1, 1]
    impatient = Retry(first_delay=0.06, max_delay=0.06, total=0.1)  # four pauses are longer
    with Client(remote.address, retry=impatient) as client:
        client.upload_dataset("my-set", large)
    assert [spec.write_offset for spec in uploads(remote)] == [number * CHUNK for number in range(5)]


def test_another_process_goes_on_where_the_last_one_broke(remote: Service, client: Client, pictures: Path) -> None:
    client.upload_dataset("my-set", pictures)
    with Client(remote.address) as other:
        other.upload_dataset("again", pictures)
    first, second = uploads(remote)
    assert (first.write_offset, second.write_offset) == (0, first.size_bytes)
    assert (second.sha256, list(second.class_names)) == (first.sha256, ["cat", "dog"])


def test_what_the_service_refuses_is_told_at_once(client: Client, remote: Service, large: Path) -> None:
    remote.faults.fail("UploadDataset", "ALREADY_EXISTS", reason="DATASET_EXISTS")
    with pytest.raises(AlreadyExists):
        client.upload_dataset("my-set", large)
    remote.faults.fail("UploadDataset", "INVALID_ARGUMENT", reason="DATASET_LABEL_INVALID", message="y_train[17] is -3")
    with pytest.raises(InvalidArgument, match=r"y_train\[17\]"):
        client.upload_dataset("my-set", large)
    assert len(uploads(remote)) == 2


def test_an_upload_that_its_caller_gives_up_is_ended(client: Client, remote: Service, large: Path) -> None:
    def give_up(sent: int, size: int) -> None:
        if sent:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as caught:
        client.upload_dataset("my-set", large, on_progress=give_up)
    until(lambda: not remote.datasets.uploading, "the upload has ended")
    assert caught.value.__context__ is None  # kept until now, and with it the call that nobody else would end


def test_a_server_that_is_away_for_good_ends_the_upload(client: Client, remote: Service, large: Path) -> None:
    remote.faults.fail("UploadDataset", times=100_000)
    with pytest.raises(Unavailable):
        client.upload_dataset("my-set", large)


def test_a_short_name_is_built_in_or_else_of_the_project(client: Client, remote: Service) -> None:
    names = ["digits", "my-set", "projects/other/datasets/x", "datasets/digits"]
    for name in names:
        client.submit(RESNET, dataset=name, targets=Target(flash="64KiB"))
    client.resolve(RESNET, "my-set", profile="stm32f746")

    sent = [
        request.job.dataset for request in remote.faults.requests["CreateJob"] if isinstance(request, jobs_pb.CreateJobRequest)
    ]
    assert sent == ["datasets/digits", OWN, "projects/other/datasets/x", "datasets/digits"]
    (resolve,) = remote.faults.requests["ResolveModel"]
    assert isinstance(resolve, models_pb.ResolveModelRequest)
    assert resolve.dataset == OWN


def test_data_sets_are_read_by_their_short_names(client: Client, large: Path) -> None:
    uploaded = client.upload_dataset("my-set", large)
    assert client.dataset("my-set") == uploaded
    assert client.dataset("digits").input_shape == (8, 8, 1)
    assert [dataset.name for dataset in client.datasets()] == ["datasets/cifar10", "datasets/digits", OWN]


def test_asyncio_uploads_the_same(remote: Service, large: Path) -> None:
    async def upload() -> Dataset:
        async with aio.Client(remote.address) as client:
            await client.upload_dataset("my-set", large)
            return await client.dataset("my-set")

    assert asyncio.run(upload()).name == OWN


def test_the_command_line_uploads_shows_and_lists(remote: Service, pictures: Path) -> None:
    done = run(remote, "datasets", "upload", "my-set", str(pictures), "--flip", "--crop", "2", "--name", "Pets", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["class_names"] == ["cat", "dog"]
    assert json.loads(done.stdout)["augmentation"] == {"flip": True, "crop": 2, "cutout": 0}

    shown = run(remote, "datasets", "get", "my-set").stdout
    for words in (OWN, "Pets", "8x8x1", "cat, dog", "mirrored, shifted by up to 2 pixels"):
        assert words in shown
    listed = run(remote, "datasets", "list").stdout
    assert "CIFAR-10" in listed
    assert "built in" in listed
    assert "my-set" in listed.split()


def test_a_dry_run_registers_nothing_and_a_wrong_path_is_wrong_usage(remote: Service, pictures: Path) -> None:
    assert run(remote, "datasets", "upload", "my-set", str(pictures), "--dry-run").exit_code == 0
    assert OWN not in remote.datasets.stored
    wrong = run(remote, "datasets", "upload", "my-set", str(pictures / "nowhere"))
    assert wrong.exit_code == 2
    assert "DATASET_UNREADABLE" in wrong.stderr
