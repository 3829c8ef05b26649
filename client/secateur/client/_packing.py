"""Folders of images as one file of arrays, the same bytes for the same images, written as NumPy writes them but without it.

The labels follow the sorted names of the folders, and no date is written, so that an upload that breaks off goes on when the
folder is packed anew. Images are decoded one at a time by Pillow, the optional extra `secateur-client[data]`.
"""

from __future__ import annotations

import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secateur.client.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES: Final = (".jpeg", ".jpg", ".png")

_GREY: Final = frozenset({"1", "L", "LA"})
_COLOUR: Final = frozenset({"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_CHANNELS: Final = {"L": 1, "RGB": 3}
_HEADER_BYTES: Final = 128
_FAST: Final = 1
"""Level of compression: photos gain little from more of it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A file to upload.

    Args:
        path: The `.npz`.
        class_names: Name of every class, in the order of the labels; empty if nothing tells them.
    """

    path: Path
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Labelled:
    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class _Form:
    """What all images have in common: mode of Pillow, width and height."""

    mode: str
    size: tuple[int, int]


@contextmanager
def packed(path: Path) -> Iterator[Packed]:
    """Gives a data set as one file: an `.npz` as it is, a folder of images packed into one that is gone afterwards.

    A folder holds one folder of `.png` and `.jpg` images per class, or such folders in `train` and, if there is one, `test`.

    Args:
        path: The file or folder.

    Raises:
        UsageError: DATASET_UNREADABLE if there is no such file; DATASET_FOLDER_INVALID, IMAGE_UNREADABLE or IMAGE_MISFIT,
            naming the file; PACKING_UNAVAILABLE if Pillow is missing.
    """
    if not path.is_dir():
        if "\0" in str(path) or not zipfile.is_zipfile(path):  # a null byte is an error of its own to Python
            raise UsageError(
                "DATASET_UNREADABLE",
                f"A data set is an .npz file, or a folder of images with one folder per class. Received: {str(path)!r}",
                field="path",
            )
        yield Packed(path)
        return
    names, splits = _listed(path)
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        file = Path(folder) / "dataset.npz"
        _write(file, splits)
        yield Packed(file, names)


def _listed(root: Path) -> tuple[tuple[str, ...], dict[str, list[_Labelled]]]:
    """Returns the names of the classes and the images of each split."""
    top = _folders(root)
    if "train" in top:
        for name in top.keys() - {"train", "test"}:
            raise _folder_invalid(
                "Beside train and test there may be no folder: a job keeps a validation split itself", top[name]
            )
        folders = {part: _folders(folder) for part, folder in top.items()}
    else:
        folders = {"train": top}
    names = tuple(folders["train"])
    for name, folder in folders.get("test", {}).items():
        if name not in names:
            raise _folder_invalid(f"Every class has images to train on, but {name} has none in {root / 'train'}", folder)
    label_of = {name: label for label, name in enumerate(names)}
    images: dict[str, list[_Labelled]] = {
        part: [_Labelled(path, label_of[name]) for name, folder in folders[part].items() for path in _images(folder)]
        for part in ("train", "test")
        if part in folders
    }
    return names, images


def _folders(root: Path) -> dict[str, Path]:
    """Returns the folders of the classes by name, sorted."""
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if not entry.is_dir():
            raise _folder_invalid("Beside the folders of the classes there may be no file", entry)
    if not entries:
        raise _folder_invalid("A folder of images holds one folder per class", root)
    return {entry.name: entry for entry in entries}


def _images(folder: Path) -> list[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if entry.is_dir() or entry.suffix.lower() not in IMAGE_SUFFIXES:
            raise _folder_invalid(f"The folder of a class holds images alone: {', '.join(IMAGE_SUFFIXES)}", entry)
    if not entries:
        raise _folder_invalid("The folder of a class holds images", folder)
    return entries


def _write(file: Path, splits: Mapping[str, Sequence[_Labelled]]) -> None:
    form = _form([image.path for images in splits.values() for image in images])
    width, height = form.size
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as archive:
        for split, images in splits.items():
            with archive.open(f"x_{split}.npy", "w", force_zip64=True) as array:
                array.write(_header("|u1", (len(images), height, width, _CHANNELS[form.mode])))
                for pixels in _decoded((image.path for image in images), form):
                    array.write(pixels)
            with archive.open(f"y_{split}.npy", "w") as array:
                array.write(_header("<u2", (len(images),)))
                array.write(struct.pack(f"<{len(images)}H", *(image.label for image in images)))


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    """Returns the header of an array in version 1.0 of NumPy's file format."""
    start = b"\x93NUMPY\x01\x00"
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = _HEADER_BYTES - len(start) - 2
    return start + struct.pack("<H", length) + text.ljust(length - 1) + b"\n"


def _form(paths: Sequence[Path]) -> _Form:
    """Returns what all images have in common; reads their headers alone."""
    sizes, modes = [], set()
    for path in paths:
        with _opened(path) as image:
            sizes.append(image.size)
            modes.add(image.mode)
            if image.mode not in _GREY | _COLOUR:
                raise _misfit("Images have 8 bits per channel, grey or colour; convert it", path, f"mode {image.mode}")
            if sizes[-1] != sizes[0]:
                width, height = sizes[0]
                wanted = f"All images have the size of the first, {width} x {height} pixels in {paths[0]}; resize it"
                raise _misfit(wanted, path, f"{image.width} x {image.height} pixels")
    return _Form("L" if modes <= _GREY else "RGB", sizes[0])


def _decoded(paths: Iterable[Path], form: _Form) -> Iterator[bytes]:
    for path in paths:
        with _opened(path) as image:
            yield image.convert(form.mode).tobytes()


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Opens an image; whatever is wrong with it names the file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(
            "PACKING_UNAVAILABLE",
            "Packing images needs Pillow; install the extra secateur-client[data], or upload an .npz. "
            f"Received: {path} ({error})",
            field="path",
        ) from None
    damage = (OSError, SyntaxError, ValueError, struct.error, Warning, Image.DecompressionBombError)  # as formats raise them
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                yield image
        except UsageError:
            raise
        except damage as error:
            raise UsageError(
                "IMAGE_UNREADABLE", f"This is no image that can be read: {error}. Received: {path}", field="path"
            ) from None


def _misfit(problem: str, path: Path, received: str) -> UsageError:
    return UsageError("IMAGE_MISFIT", f"{problem}. Received: {path} with {received}", field="path")


def _folder_invalid(problem: str, received: Path) -> UsageError:
    return UsageError("DATASET_FOLDER_INVALID", f"{problem}. Received: {received}", field="path")
