"""What an uploaded data set holds, checked from end to end: the `.npz` is read as a stream, and without NumPy.

In a file that passes, images and labels are of the types and shapes that they should be, no label is out of range, and every
class is in every split, often enough for the splits that a job draws.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from secateur.core.datasets import drawn_test_images
from secateur.core.errors import InvalidArgument
from secateur.server.datasets.npy import Header, malformed, read_header, read_labels
from secateur.store.checksums import Checksums

MAX_FILE_BYTES: Final = 2**30
"""Longest file that is taken in."""
MAX_ARRAY_BYTES: Final = 2 * 2**30
"""Most bytes that all arrays may have together: training data stays on the device as it is."""
MAX_IMAGES: Final = 1_000_000
"""Most images of one split."""
MAX_SIDE: Final = 1_024
"""Longest side of an image, in pixels."""
MAX_CHANNELS: Final = 16
"""Most channels of an image."""
MAX_CLASSES: Final = 1_000
"""Most classes."""
LEAST_PER_CLASS: Final = 10
"""Fewest images of a class to train on: recipes keep a tenth for validation, stratified, and no class may be missing there."""
LEAST_PER_CLASS_UNSPLIT: Final = 13
"""Fewest images of a class where the test split is drawn from them too: at least `LEAST_PER_CLASS` are left."""

_SPLITS: Final = ("train", "test")
_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test")
_CHUNK_BYTES: Final = 2**20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END: Final = struct.Struct("<4s4H2LH")
"""The record that ends a zip archive."""
_END_SIGNATURE: Final = b"PK\x05\x06"
_LOCATOR_SIGNATURE: Final = b"PK\x06\x07"
"""Signature of the zip64 locator, `_LOCATOR_BYTES` long, which stands before that record in archives longer than we take."""
_LOCATOR_BYTES: Final = 20
_LOCAL: Final = struct.Struct("<26x2H")
"""The record before each member: it ends with the lengths of the name and of the extra field that follow it."""
_ENCRYPTED: Final = 1


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    Args:
        input_shape: Height, width, channels of an image.
        classes: Number of classes.
        train_images: Images to train on, validation images included.
        test_images: Images of the test split, drawn or not.
    """

    input_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels of one array: how often each occurs, and in which row first."""

    name: str
    counts: Counter[int]
    rows: Mapping[int, int]


def inspect(file: BinaryIO, checksums: Checksums, class_names: Sequence[str] = ()) -> Contents:
    """Checks all of a file and returns what it holds.

    Args:
        file: The file; it can be read from any place.
        checksums: What all of its bytes come to: images that are not deflated are not read again.
        class_names: Names of the classes, in the order of the labels, for errors.

    Raises:
        InvalidArgument: DATASET_MALFORMED, DATASET_ARRAYS_INVALID, DATASET_TOO_LARGE, DATASET_DTYPE_INVALID,
            DATASET_SHAPE_INVALID, DATASET_LENGTH_MISMATCH, DATASET_LABEL_INVALID or DATASET_CLASS_MISSING, naming
            the array and, where there is one, the row.
    """
    with _damage_named():
        _check_end(file)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive)
            headers = {name: _header(archive, name, member) for name, member in members.items()}
            input_shape = _input_shape(headers)
            splits = [split for split in _SPLITS if f"y_{split}" in members]
            labels = {split: _labels(archive, members[f"y_{split}"], f"y_{split}") for split in splits}
            classes = _check_classes(labels, class_names)
            for split in splits:
                _check_content(archive, file, members[f"x_{split}"], checksums)
    images = {split: found.counts.total() for split, found in labels.items()}
    test = images.get("test", drawn_test_images(images["train"]))
    train = images["train"] if "test" in images else images["train"] - test
    return Contents(input_shape, classes, train, test)


@contextmanager
def _damage_named() -> Iterator[None]:
    """Turns everything that a damaged archive may raise into one error."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        OSError,
        ValueError,
    ) as error:
        raise malformed("The file is a whole .npz archive", str(error) or type(error).__name__) from error


def _check_end(file: BinaryIO) -> None:
    """Refuses an archive that would list more members than it may have, before anybody makes that list."""
    file.seek(0, 2)
    if file.tell() < _END.size:
        raise malformed("The file is a whole .npz archive", f"{file.tell()} bytes")
    file.seek(-min(file.tell(), _END.size + _LOCATOR_BYTES), 2)
    locator = file.read(len(_LOCATOR_SIGNATURE))
    file.seek(-_END.size, 2)
    signature, _, _, _, members, listed, _, comment = _END.unpack(file.read(_END.size))
    if signature != _END_SIGNATURE or comment or locator == _LOCATOR_SIGNATURE:
        raise malformed("The file is a whole .npz archive as numpy.savez writes it", "no end of one, so it may be cut off")
    if members > len(_ARRAYS) or listed > 2**16:
        raise _arrays_invalid(f"{members} arrays")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Returns the members by the names of their arrays."""
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    found = tuple(name for name in _ARRAYS if name in members)
    if len(archive.infolist()) != len(found) or found not in (_ARRAYS, _ARRAYS[:2]):
        raise _arrays_invalid(", ".join(member.filename for member in archive.infolist()) or "none")
    for name, member in members.items():
        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise malformed(f"{name} is stored or deflated, and not encrypted", f"method {member.compress_type}")
    total = sum(member.file_size for member in members.values())
    if total > MAX_ARRAY_BYTES:
        raise InvalidArgument(
            "DATASET_TOO_LARGE",
            f"All arrays may have at most {MAX_ARRAY_BYTES:,} bytes; take fewer or smaller images. Received: {total:,}",
            field="chunk",
        )
    return {name: members[name] for name in found}


def _header(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> Header:
    with archive.open(member) as file:
        header = read_header(file, name)
    if name.startswith("x_"):
        header.check_pixels()
    else:
        header.check_labels()
        if header.shape[1:] not in ((), (1,)) or not header.shape:
            raise _shape_invalid(f"{name} has one label per image, so its shape is (n,) or (n, 1)", header)
    if member.file_size != header.size + header.data_bytes:
        held = f"{member.file_size - header.size:,} bytes for shape {header.shape}"
        raise malformed(f"{name} has as many bytes as its shape says", held)
    return header


def _input_shape(headers: Mapping[str, Header]) -> tuple[int, int, int]:
    """Returns the shape of an image; refuses images that differ, and other than one label each."""
    shapes = {split: _image_shape(headers[f"x_{split}"]) for split in _SPLITS if f"x_{split}" in headers}
    for split in shapes:
        images, labels = headers[f"x_{split}"], headers[f"y_{split}"]
        if images.shape[0] != labels.shape[0]:
            raise InvalidArgument(
                "DATASET_LENGTH_MISMATCH",
                f"{images.name} and {labels.name} must be equally long. "
                f"Received: {images.shape[0]:,} images and {labels.shape[0]:,} labels",
                field="chunk",
            )
    if len(set(shapes.values())) > 1:
        raise _shape_invalid(f"Test images have the shape of training images, {list(shapes['train'])}", headers["x_test"])
    return shapes["train"]


def _image_shape(header: Header) -> tuple[int, int, int]:
    match header.shape:
        case (images, height, width):
            channels = 1
        case (images, height, width, channels):
            pass
        case _:
            raise _shape_invalid(f"{header.name} is (n, height, width, channels), or (n, height, width) if it is grey", header)
    if not (
        images <= MAX_IMAGES and min(height, width) >= 1 and max(height, width) <= MAX_SIDE and 1 <= channels <= MAX_CHANNELS
    ):
        raise _shape_invalid(
            f"{header.name} may have at most {MAX_IMAGES:,} images of at most {MAX_SIDE:,} x {MAX_SIDE:,} pixels and "
            f"{MAX_CHANNELS} channels",
            header,
        )
    return height, width, channels


def _labels(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> _Labels:
    """Counts the labels of an array; refuses one that can be none."""
    counts: Counter[int] = Counter()
    rows: dict[int, int] = {}
    with archive.open(member) as file:
        for labels in read_labels(file, read_header(file, name)):
            counted = Counter(labels)
            if min(counted) < 0 or max(counted) >= MAX_CLASSES:
                row, label = next(item for item in enumerate(labels, counts.total()) if not 0 <= item[1] < MAX_CLASSES)
                raise InvalidArgument(
                    "DATASET_LABEL_INVALID",
                    f"{name}[{row}] must be the number of a class, from 0 to at most {MAX_CLASSES - 1}. Received: {label}",
                    field="chunk",
                )
            rows |= {label: counts.total() + labels.index(label) for label in counted.keys() - rows.keys()}
            counts.update(counted)
    return _Labels(name, counts, rows)


def _check_classes(splits: Mapping[str, _Labels], class_names: Sequence[str]) -> int:
    """Returns the number of classes; refuses a split in which one is missing, or has too few images to be split again."""
    highest = max((labels for labels in splits.values() if labels.counts), key=lambda labels: max(labels.counts), default=None)
    classes = 1 + max(highest.counts) if highest else 0
    if not highest or classes < 2:
        raise InvalidArgument(
            "DATASET_CLASS_MISSING", f"There must be images of at least two classes. Received: {classes}", field="chunk"
        )
    least = {"train": LEAST_PER_CLASS if "test" in splits else LEAST_PER_CLASS_UNSPLIT, "test": 1}
    for split, labels in splits.items():
        for label in range(classes):
            if labels.counts[label] < least[split]:
                called = f"{label} ({class_names[label]!r})" if label < len(class_names) else str(label)
                raise InvalidArgument(
                    "DATASET_CLASS_MISSING",
                    f"{labels.name} must have at least {least[split]} images of class {called}: every split needs every class, "
                    f"from 0 without a gap up to {classes - 1}, the label of {highest.name}[{highest.rows[classes - 1]}]. "
                    f"Received: {labels.counts[label]}",
                    field="chunk",
                )
    return classes


def _check_content(archive: zipfile.ZipFile, file: BinaryIO, member: zipfile.ZipInfo, checksums: Checksums) -> None:
    """Checks the length and the checksum of a member."""
    if member.compress_type != zipfile.ZIP_STORED:
        with archive.open(member) as inflated:
            while inflated.read(_CHUNK_BYTES):
                pass
        return
    file.seek(member.header_offset)
    start = member.header_offset + _LOCAL.size + sum(_LOCAL.unpack(file.read(_LOCAL.size)))
    if member.compress_size != member.file_size or checksums.crc32(file, start, start + member.file_size) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename} does not have the length and CRC-32 that it should have")


def _shape_invalid(problem: str, header: Header) -> InvalidArgument:
    return InvalidArgument(
        "DATASET_SHAPE_INVALID", f"{problem}. Received: {header.name} of shape {header.shape}", field="chunk"
    )


def _arrays_invalid(received: str) -> InvalidArgument:
    return InvalidArgument(
        "DATASET_ARRAYS_INVALID",
        f"A data set holds the arrays x_train and y_train, and either both or none of x_test and y_test, once each. "
        f"Received: {received}",
        field="chunk",
    )
