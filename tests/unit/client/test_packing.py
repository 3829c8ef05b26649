"""Folders of images as one file of arrays, and what is refused before anything is sent."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from secateur.client import Client, UsageError
from secateur.client._packing import packed
from secateur.server.datasets.archive import Contents
from tests.support.datasets import arrays, inspected, npz, save_images
from tests.unit.client.remote.service import Service


def content(path: Path) -> dict[str, Any]:
    with packed(path) as file, np.load(file.path, allow_pickle=False) as found:
        return dict(found)


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
    for path, found in ((tmp_path / "set.csv", "a file that is none"), (tmp_path / "nowhere", "nothing there")):
        with pytest.raises(UsageError, match=f"{path}', {found}") as caught:
            content(path)
        assert caught.value.reason == "DATASET_UNREADABLE"


def test_without_pillow_a_folder_says_what_to_install(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r"secateur-client\[data\]") as caught:
        content(pictures)
    assert caught.value.reason == "PACKING_UNAVAILABLE"
