"""Folders of images as one file of arrays, the same bytes for the same images, written as NumPy writes them but without it.

The labels follow the sorted names of the folders, and no date is written, so that an upload that breaks off goes on when the
folder is packed anew. Images are decoded one at a time by Pillow, the optional extra `secateur-client[data]`.
"""

from __future__ import annotations

import re
import struct
import tempfile
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
_OPAQUE: Final = 255
_UNSPLIT_ARRAYS: Final = ["x_train", "y_train"]
_ARRAYS: Final = ["x_test", "x_train", "y_test", "y_train"]
_KIND: Final = re.compile(rb"""['"]descr['"]: *['"][<>=|]?(\w+)['"]""")
"""Type of the numbers, as the header of an array names it; records and objects are left to the service."""
_SIDES: Final = re.compile(rb"""['"]shape['"]: *\(\d+, *(\d+), *(\d+)""")
"""Height and width of the images, as the header of their array tells them."""
_HEADER_BYTES: Final = 128
_FAST: Final = 1
"""Level of compression: photos gain little from more of it."""
_LEFT_BY_WINDOWS: Final = frozenset({"desktop.ini", "thumbs.db"})
"""Hidden files in folders of pictures, in small letters; on other systems the names of such files begin with a dot."""
_LEAST_IMAGES: Final = {"train": 10, "test": 1}
_LEAST_IMAGES_UNSPLIT: Final = {"train": 13}
_LONGEST_SIDE: Final = 1_024
"""Fewest images of a class that the service takes, and longest side of one; told here too, before all are packed and sent."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A file to upload.

    Args:
        path: The `.npz`.
        class_names: Name of every class, in the order of the labels; empty if nothing tells them.
        side: Shorter side of the images, in pixels; None if nothing tells it.
    """

    path: Path
    class_names: tuple[str, ...] = ()
    side: int | None = None

    def check_augmentation(self, **pixels: int) -> None:
        """Refuses to shift images, or to blank a square in them, by more than there is of them, before they are sent.

        Args:
            **pixels: `crop` and `cutout`.

        Raises:
            UsageError: AUGMENTATION_INVALID.
        """
        for name, value in pixels.items():
            if self.side is not None and value >= self.side:
                raise UsageError(
                    "AUGMENTATION_INVALID",
                    f"{name} must be less than the shorter side of the images, {self.side} pixels. Received: {value}",
                    field=name,
                )


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
        UsageError: DATASET_UNREADABLE if there is no such file; DATASET_ARRAYS_INVALID or DATASET_DTYPE_INVALID, naming the
            array; DATASET_FOLDER_INVALID, IMAGE_UNREADABLE or IMAGE_MISFIT, naming the file; PACKING_UNAVAILABLE if Pillow
            is missing.
    """
    if not path.is_dir():
        if "\0" in str(path) or not zipfile.is_zipfile(path):  # a null byte is an error of its own to Python
            found = f"{str(path)!r}, " + ("a file that is none, or that is cut short" if path.exists() else "nothing there")
            raise UsageError(
                "DATASET_UNREADABLE",
                f"A data set is an .npz file, or a folder of images with one folder per class. Received: {found}",
                field="path",
            )
        yield Packed(path, side=_check_arrays(path))
        return
    names, splits = _listed(path)
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        file = Path(folder) / "dataset.npz"
        form = _write(file, splits)
        yield Packed(file, names, min(form.size))


def _check_arrays(path: Path) -> int | None:
    """Refuses what the service would find out only once all of it is sent; what is damaged is left to the service.

    Returns:
        The shorter side of the images; None if it cannot be told.
    """
    members, kinds, sides = [], {}, None
    damage = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)  # as zipfile raises them
    with suppress(*damage), zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        for member in members[: len(_ARRAYS)]:
            with archive.open(member) as array:
                header = array.read(_HEADER_BYTES)
            kinds[member.removesuffix(".npy")] = _KIND.search(header)
            sides = sides or _SIDES.search(header)
    names = sorted(member.removesuffix(".npy") for member in members)
    if members and names not in (_UNSPLIT_ARRAYS, _ARRAYS):
        strays = [member for member in members if member.removesuffix(".npy") not in _ARRAYS] or members
        raise UsageError(
            "DATASET_ARRAYS_INVALID",
            "An .npz holds the arrays x_train and y_train, and either both or none of x_test and y_test; pictures are uploaded "
            f"as a folder. Received: {path} with {', '.join(strays[: len(_ARRAYS)])} among {len(members):,}",
            field="path",
        )
    for name, kind in kinds.items():
        if name.startswith("x_") and kind and kind[1] != b"u1":
            raise UsageError(
                "DATASET_DTYPE_INVALID",
                f"{name} must hold uint8, from 0 to 255; cast it before saving. Received: {path} with {kind[1].decode()}",
                field="path",
            )
    return min(map(int, sides.groups())) if sides else None


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
    if len(names) < 2:
        raise _folder_invalid("There are at least two classes, each with a folder", top.get("train", root))
    images: dict[str, list[_Labelled]] = {}
    for part, least in (_LEAST_IMAGES if "test" in folders else _LEAST_IMAGES_UNSPLIT).items():
        found = [_images(folders[part][name]) if name in folders[part] else [] for name in names]
        for name, paths in zip(names, found, strict=True):
            if len(paths) < least:
                drawn = "" if "test" in folders else ", as the test split is drawn from them"
                wanted = f"Every class has images to {part} on, at least {least}{drawn}"
                raise _folder_invalid(wanted, top.get(part, root) / name, f" with {len(paths)}")
        images[part] = [_Labelled(path, label) for label, paths in enumerate(found) for path in paths]
    return names, images


def _folders(root: Path) -> dict[str, Path]:
    """Returns the folders of the classes by name, sorted.

    Unicode writes one and the same "é" in two ways, and systems differ in which they keep (macOS, archives made there): names
    count in one of them, NFC, so that they are the same classes, in the same order, everywhere.
    """
    entries = _visible(root)
    folders: dict[str, Path] = {}
    for entry in entries:
        name = unicodedata.normalize("NFC", entry.name)
        if not entry.is_dir():
            raise _folder_invalid("Beside the folders of the classes there may be no file", entry)
        if name in folders:
            raise _folder_invalid("Two folders have the same name, but for how Unicode writes it; merge them", entry)
        folders[name] = entry
    if not entries:
        raise _folder_invalid("A folder of images holds one folder per class", root)
    return dict(sorted(folders.items()))


def _images(folder: Path) -> list[Path]:
    entries = _visible(folder)
    for entry in entries:
        if entry.is_dir() or entry.suffix.lower() not in IMAGE_SUFFIXES:
            raise _folder_invalid(f"The folder of a class holds images alone: {', '.join(IMAGE_SUFFIXES)}", entry)
    if not entries:
        raise _folder_invalid("The folder of a class holds images", folder)
    return entries


def _visible(folder: Path) -> list[Path]:
    """Returns what people have put into a folder, sorted."""
    return sorted(
        entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name.lower() not in _LEFT_BY_WINDOWS
    )


def _write(file: Path, splits: Mapping[str, Sequence[_Labelled]]) -> _Form:
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
    return form


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
            if max(image.size) > _LONGEST_SIDE:
                received = f"{image.width} x {image.height} pixels"
                raise _misfit(f"The sides of an image have at most {_LONGEST_SIDE:,} pixels; resize it", path, received)
            if sizes[-1] != sizes[0]:
                width, height = sizes[0]
                wanted = f"All images have the size of the first, {width} x {height} pixels in {paths[0]}; resize it"
                raise _misfit(wanted, path, f"{image.width} x {image.height} pixels")
    return _Form("L" if modes <= _GREY else "RGB", sizes[0])


def _decoded(paths: Iterable[Path], form: _Form) -> Iterator[bytes]:
    for path in paths:
        with _opened(path) as image:
            if _has_transparent_pixels(image):
                wanted = "No pixel is transparent, for what is behind it is unknown; put the image on a background"
                raise _misfit(wanted, path, "transparent ones")
            yield image.convert(form.mode).tobytes()


def _has_transparent_pixels(image: Image) -> bool:
    if not image.has_transparency_data:
        return False
    opaque = image.convert("RGBA").getchannel("A").histogram()[_OPAQUE]
    return opaque < image.width * image.height


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Opens an image; whatever is wrong with it names the file."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UsageError(
            "PACKING_UNAVAILABLE",
            "Packing images needs Pillow; install the extra secateur-client[data], or upload an .npz. "
            f"Received: {path} ({error})",
            field="path",
        ) from None
    damage = (OSError, SyntaxError, ValueError, struct.error, Warning, Image.DecompressionBombError)  # as formats raise them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that is damaged, say, while the image is not
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                # Cameras leave it to whoever shows an image to turn it.
                with suppress(SyntaxError, struct.error):  # metadata that is damaged says nothing; the image may be well
                    ImageOps.exif_transpose(image, in_place=True)
                yield image
        except UsageError:
            raise
        except damage as error:
            raise UsageError(
                "IMAGE_UNREADABLE", f"This is no image that can be read: {error}. Received: {path}", field="path"
            ) from None


def _misfit(problem: str, path: Path, received: str) -> UsageError:
    return UsageError("IMAGE_MISFIT", f"{problem}. Received: {path} with {received}", field="path")


def _folder_invalid(problem: str, received: Path, held: str = "") -> UsageError:
    return UsageError("DATASET_FOLDER_INVALID", f"{problem}. Received: {received}{held}", field="path")
