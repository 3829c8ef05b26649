"""Arrays in NumPy's file format, read without NumPy: their header, and the labels of those that hold labels.

The format is that of NumPy's `lib.format` module, versions 1.0 and 2.0. Nothing is ever unpickled, and nothing is evaluated but
a literal of bounded length.
"""

from __future__ import annotations

import ast
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Final, NoReturn

from secateur.core.errors import InvalidArgument

_MAGIC: Final = b"\x93NUMPY"
_LENGTHS: Final = {(1, 0): "<H", (2, 0): "<I"}
"""How the length of the header is written, by version."""
_LONGEST_HEADER: Final = 10_000
"""In bytes; NumPy does not read a longer one either, unless it is told to."""
_LONGEST_ECHO: Final = 80
_CHUNK_LABELS: Final = 65_536

_PIXELS: Final = "u1"
_LABELS: Final = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
"""Type of `array.array` that holds integers of a NumPy type."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an array is like.

    Args:
        name: Name of the array.
        kind: Type without its byte order, for example "u1".
        order: Byte order: "<", ">", "=" or "|".
        shape: Its shape.
        size: Bytes of the header itself.
    """

    name: str
    kind: str
    order: str
    shape: tuple[int, ...]
    size: int

    @property
    def data_bytes(self) -> int:
        """Bytes of the elements."""
        return prod(self.shape) * int(self.kind[1:])

    def check_pixels(self) -> None:
        """Refuses what is not uint8.

        Raises:
            InvalidArgument: DATASET_DTYPE_INVALID.
        """
        if self.kind != _PIXELS:
            _refuse_type(self.name, "uint8, from 0 to 255; scale and cast them before saving", f"{self.order}{self.kind}")

    def check_labels(self) -> None:
        """Refuses what is not integers.

        Raises:
            InvalidArgument: DATASET_DTYPE_INVALID.
        """
        if self.kind not in _LABELS:
            _refuse_type(self.name, "integers of 8 to 64 bits", f"{self.order}{self.kind}")


def read_header(file: IO[bytes], name: str) -> Header:
    """Reads the header of an array and leaves the file at its first element.

    Args:
        file: The file, at its beginning.
        name: Name of the array, for errors.

    Raises:
        InvalidArgument: DATASET_MALFORMED if it is no such header; DATASET_DTYPE_INVALID if the array holds objects or records.
    """
    start = file.read(len(_MAGIC) + 2)
    if start[: len(_MAGIC)] != _MAGIC or len(start) != len(_MAGIC) + 2:
        raise malformed(f"{name} is no array of NumPy's file format", repr(start))
    version = (start[-2], start[-1])
    if version not in _LENGTHS:
        raise malformed(f"{name} is written in a version of NumPy's file format that holds no plain numbers", repr(version))
    width = struct.calcsize(_LENGTHS[version])
    announced = file.read(width)
    length = struct.unpack(_LENGTHS[version], announced)[0] if len(announced) == width else 0
    if not 0 < length <= _LONGEST_HEADER:
        raise malformed(f"The header of {name} has at most {_LONGEST_HEADER:,} bytes", f"{length:,}")
    text = file.read(length)
    if len(text) != length:
        raise malformed(f"{name} ends within its header", f"{len(text)} of {length} bytes")
    kind, order, shape = _parsed(text.decode("latin-1"), name)
    return Header(name, kind, order, shape, size=len(start) + width + length)


def read_labels(file: IO[bytes], header: Header) -> Iterator[array[int]]:
    """Yields the labels of an array, a few ten thousand at a time, until they or the file end.

    Args:
        file: The file, at the first element.
        header: The array's header, whose `check_labels` holds.
    """
    code, width = _LABELS[header.kind], int(header.kind[1:])
    swapped = header.order == (">" if sys.byteorder == "little" else "<")
    while data := file.read(_CHUNK_LABELS * width):
        labels = array(code, data[: len(data) // width * width])
        if swapped:
            labels.byteswap()
        yield labels


def malformed(problem: str, received: str, *, field: str = "chunk") -> InvalidArgument:
    """Returns the error for a file that is not what it should be.

    Args:
        problem: What should be, as a sentence without its full stop.
        received: What is.
        field: Field of the request.
    """
    return InvalidArgument("DATASET_MALFORMED", f"{problem}. Received: {received[:_LONGEST_ECHO]}", field=field)


def _parsed(text: str, name: str) -> tuple[str, str, tuple[int, ...]]:
    """Returns type, byte order and shape of a header, as its dictionary says."""
    try:
        known = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        known = None
    if not isinstance(known, dict) or set(known) != {"descr", "fortran_order", "shape"}:
        raise malformed(f"The header of {name} tells descr, fortran_order and shape", repr(text))
    descr, shape = known["descr"], known["shape"]
    if not isinstance(descr, str) or "O" in descr:
        _refuse_type(name, "numbers; objects and records are pickled, and a pickle is never read", repr(descr))
    if not isinstance(known["fortran_order"], bool) or not _is_shape(shape):
        raise malformed(f"The header of {name} tells descr, fortran_order and shape", repr(text))
    order, kind = (descr[0], descr[1:]) if descr[:1] in "<>=|" else ("=", descr)
    if not kind[1:].isdecimal() or not kind.isascii():
        _refuse_type(name, "numbers", descr)
    return kind, order, shape


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)


def _refuse_type(name: str, wanted: str, received: str) -> NoReturn:
    raise InvalidArgument(
        "DATASET_DTYPE_INVALID", f"{name} must hold {wanted}. Received: {received[:_LONGEST_ECHO]}", field="chunk"
    )
