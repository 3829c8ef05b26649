"""Data sets: packing folders of images, uploading what the service lacks, naming them, and the command line."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

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
    Zoo,
    aio,
)
from secateur.client._packing import packed
from secateur.client.datasets import Augmentation
from secateur.server.datasets.archive import Contents
from secateur.v1 import dataset_service_pb2 as pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from tests.support.datasets import arrays, inspected, npz
from tests.support.stack import until
from tests.unit.client.command_line import run
from tests.unit.client.remote.service import Service

RESNET = Zoo("resnet20", (8, 8, 1), 10)
OWN = "projects/default/datasets/my-set"
CHUNK = 2**20


def save_images(folder: Path, count: int, *, mode: str = "L", size: tuple[int, int] = (6, 4), suffix: str = ".png") -> None:
    """Saves images of noise: 6 wide, 4 high."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(count)
    for number in range(count):
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03}{suffix}")


def content(path: Path) -> dict[str, Any]:
    with packed(path) as file, np.load(file.path, allow_pickle=False) as found:
        return dict(found)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of images of two classes, 13 each."""
    for name in ("dog", "cat"):
        save_images(tmp_path / "pictures" / name, 13)
    return tmp_path / "pictures"


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


def test_a_folder_becomes_what_the_service_takes_and_keeps_the_names(pictures: Path) -> None:
    with packed(pictures) as file:
        assert file.class_names == ("cat", "dog")
        assert inspected(file.path.read_bytes(), file.class_names) == Contents((4, 6, 1), 2, 21, 5)
    assert not file.path.exists()
    found = content(pictures)
    assert sorted(found) == ["x_train", "y_train"]
    assert found["y_train"].tolist() == [0] * 13 + [1] * 13
    with Image.open(pictures / "dog" / "012.png") as last:
        assert (found["x_train"][-1, ..., 0] == np.asarray(last)).all()


def test_a_test_part_is_kept_apart(pictures: Path, tmp_path: Path) -> None:
    pictures.rename(tmp_path / "train")
    for name in ("cat", "dog"):
        save_images(tmp_path / "test" / name, 2)
    found = content(tmp_path)
    assert (len(found["x_train"]), found["y_test"].tolist()) == (26, [0, 0, 1, 1])


def test_the_same_images_make_the_same_bytes(pictures: Path) -> None:
    def data() -> bytes:
        with packed(pictures) as file:
            return file.path.read_bytes()

    first = data()
    (pictures / ".DS_Store").write_bytes(b"hidden files do not count")
    assert data() == first


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", ".jpg"), ("RGBA", ".png"), ("P", ".PNG"), ("CMYK", ".jpeg")])
def test_one_image_in_colour_makes_all_of_them_colour(pictures: Path, mode: str, suffix: str) -> None:
    save_images(pictures / "cat", 1, mode=mode, suffix=suffix)
    assert content(pictures)["x_train"].shape == (26 + (suffix != ".png"), 4, 6, 3)


def test_an_unreadable_image_is_named(pictures: Path) -> None:
    whole = (pictures / "cat" / "001.png").read_bytes()
    for damage in (b"", b"no image at all", whole[:40], whole[: len(whole) // 2]):
        broken = pictures / "cat" / "broken.png"
        broken.write_bytes(damage)
        with pytest.raises(UsageError) as caught:
            content(pictures)
        assert caught.value.reason == "IMAGE_UNREADABLE"
        assert str(broken) in caught.value.message


def test_an_image_of_another_size_or_kind_is_named(pictures: Path) -> None:
    for options in ({"size": (8, 8)}, {"mode": "I;16"}):
        save_images(pictures / "dog", 1, **options)
        with pytest.raises(UsageError) as caught:
            content(pictures)
        assert caught.value.reason == "IMAGE_MISFIT"
        assert str(pictures / "dog" / "000.png") in caught.value.message


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_is_turned_as_its_camera_says(tmp_path: Path, suffix: str) -> None:
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[:, 3:] = 255
    quarter_turn = Image.Exif()
    quarter_turn[ExifTags.Base.Orientation] = 6  # to be turned clockwise for showing
    for name in ("cat", "dog"):
        save_images(tmp_path / name, 13)
    Image.fromarray(np.rot90(upright)).save(tmp_path / "cat" / f"turned{suffix}", exif=quarter_turn)

    turned = content(tmp_path)["x_train"][13]

    assert np.abs(turned.astype(int) - upright).max() < 20


def test_an_image_whose_exif_is_damaged_lies_as_it_lies(pictures: Path) -> None:
    pixels = np.full((4, 6, 3), 200, dtype=np.uint8)
    Image.fromarray(pixels).save(pictures / "cat" / "000.png", exif=b"Exif\0\0no TIFF at all")
    np.testing.assert_array_equal(content(pictures)["x_train"][0], pixels)


@pytest.mark.parametrize(("mode", "options"), [("RGBA", {}), ("LA", {}), ("P", {"transparency": b"\x00\x80\xff"})])
def test_what_is_transparent_is_refused_instead_of_showing_what_was_hidden(
    pictures: Path, mode: str, options: dict[str, Any]
) -> None:
    shape = Image.new("RGBA", (6, 4))  # all black, and drawn by its transparency alone
    shape.putpixel((2, 1), (0, 0, 0, 255))
    path = pictures / "dog" / "icon.png"
    shape.convert(mode).save(path, **options)
    with pytest.raises(UsageError, match=str(path)) as caught:
        content(pictures)
    assert caught.value.reason == "IMAGE_MISFIT"


@pytest.mark.parametrize(("parts", "fewest"), [(("train", "test"), {"train": 10, "test": 1}), (("train",), {"train": 13})])
def test_too_few_images_of_a_class_are_told_before_any_is_read_and_enough_are_enough_for_the_service(
    tmp_path: Path, parts: tuple[str, ...], fewest: dict[str, int]
) -> None:
    for part in parts:
        for name in ("cat", "dog"):
            save_images(tmp_path / part / name, fewest[part])
    with packed(tmp_path) as file:
        inspected(file.path.read_bytes(), file.class_names)
    (tmp_path / "train" / "cat" / "000.png").write_bytes(b"not read so far")
    for part in parts:
        folder = tmp_path / part / "dog"
        (folder / "000.png").rename(tmp_path / ".aside")
        with pytest.raises(UsageError, match=str(folder)) as caught:
            content(tmp_path)
        assert caught.value.reason == "DATASET_FOLDER_INVALID"
        (tmp_path / ".aside").rename(folder / "000.png")
    for part in parts:
        shutil.rmtree(tmp_path / part / "dog")
    with pytest.raises(UsageError, match="at least two classes"):
        content(tmp_path)


def test_images_that_are_too_large_for_the_service_are_not_packed(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save_images(tmp_path / name, 13, size=(1_025, 1))
    with pytest.raises(UsageError, match="at most 1,024 pixels") as caught:
        content(tmp_path)
    assert caught.value.reason == "IMAGE_MISFIT"


def test_what_windows_leaves_in_folders_of_pictures_does_not_count(pictures: Path) -> None:
    (pictures / "desktop.ini").touch()
    (pictures / "cat" / "Thumbs.db").touch()
    assert len(content(pictures)["x_train"]) == 26


def test_a_name_is_that_of_one_class_however_unicode_writes_it(tmp_path: Path) -> None:
    composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    for name in ("cafz", decomposed):
        save_images(tmp_path / "set" / "train" / name, 10)
    for name in ("cafz", composed):
        save_images(tmp_path / "set" / "test" / name, 1)
    with packed(tmp_path / "set") as file:
        assert file.class_names == ("cafz", composed)
    (tmp_path / "set" / "train" / composed).mkdir()
    with pytest.raises(UsageError, match="merge them"):
        content(tmp_path / "set")


def test_arrays_that_the_service_would_refuse_are_not_sent(client: Client, remote: Service, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    good = arrays(60, 9)
    floats = {**good, "x_test": good["x_test"] / np.float32(255)}
    for found, reason, word in (
        (floats, "DATASET_DTYPE_INVALID", "x_test"),
        ({**good, "x_val": good["x_test"]}, "DATASET_ARRAYS_INVALID", "x_val"),
        ({"images": good["x_train"]}, "DATASET_ARRAYS_INVALID", "images"),
    ):
        path.write_bytes(npz(found))
        with pytest.raises(UsageError, match=word) as caught:
            client.upload_dataset("my-set", path)
        assert caught.value.reason == reason
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/000.png", b"")
    with pytest.raises(UsageError, match="uploaded as a folder"):
        client.upload_dataset("my-set", path)
    assert not remote.faults.requests


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


def test_folders_of_another_form_are_refused_by_name(pictures: Path, tmp_path: Path) -> None:
    def reason(wrong: Path) -> str:
        with pytest.raises(UsageError, match=str(wrong)) as caught:
            content(tmp_path / "pictures")
        return caught.value.reason

    stray = pictures / "labels.txt"
    stray.touch()
    assert reason(stray) == "DATASET_FOLDER_INVALID"
    stray.rename(pictures / "cat" / "labels.txt")
    assert reason(pictures / "cat" / "labels.txt") == "DATASET_FOLDER_INVALID"
    (pictures / "cat" / "labels.txt").unlink()
    (pictures / "empty").mkdir()
    assert reason(pictures / "empty") == "DATASET_FOLDER_INVALID"
    (pictures / "empty").rmdir()
    pictures.rename(tmp_path / "train")
    pictures.mkdir()
    (tmp_path / "train").rename(pictures / "train")
    save_images(pictures / "test" / "fox", 1)
    assert reason(pictures / "test" / "fox") == "DATASET_FOLDER_INVALID"
    (pictures / "test").rename(pictures / "val")
    assert reason(pictures / "val") == "DATASET_FOLDER_INVALID"


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("1,2,3")
    for path in (tmp_path / "set.csv", tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=str(path)) as caught:
            content(path)
        assert caught.value.reason == "DATASET_UNREADABLE"


def test_without_pillow_a_folder_says_what_to_install(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r"secateur-client\[data\]") as caught:
        content(pictures)
    assert caught.value.reason == "PACKING_UNAVAILABLE"


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
