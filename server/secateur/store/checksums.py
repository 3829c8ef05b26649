"""Checksums of a file, computed in one pass while its bytes arrive."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from typing import BinaryIO

from isal import isal_zlib


class Checksums:
    """The SHA-256 of all that has passed, and the CRC-32 of any part of it.

    The CRC-32 of what lies between two places follows from those of everything up to each of them. So an archive can be
    checked although its members are known only once its end has arrived, and only a few bytes before each place are read
    again.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._ends = [0]
        self._crcs = [0]

    def update(self, data: bytes | memoryview) -> None:
        """Takes in the bytes that come next.

        Args:
            data: The bytes. Give some mebibytes together; but what comes in one call is what `crc32` may have to read again.
        """
        self._sha256.update(data)
        self._crcs.append(isal_zlib.crc32(data, self._crcs[-1]))
        self._ends.append(self._ends[-1] + len(data))

    @property
    def sha256(self) -> str:
        """SHA-256 of all that was taken in, hexadecimal."""
        return self._sha256.hexdigest()

    def crc32(self, file: BinaryIO, start: int, end: int) -> int:
        """Returns the CRC-32 of the bytes from `start` to `end`.

        Args:
            file: The same bytes; it can be read from any place.
            start: Where the part begins.
            end: Where it ends.

        Raises:
            EOFError: If `end` is past the bytes that were taken in.
        """
        if end > self._ends[-1]:
            raise EOFError(f"{end - self._ends[-1]:,} bytes are missing at the end")
        return isal_zlib.crc32_combine(self._up_to(file, start), self._up_to(file, end), end - start)

    def _up_to(self, file: BinaryIO, end: int) -> int:
        """Returns the CRC-32 of all bytes before a place."""
        known = bisect_right(self._ends, end) - 1
        file.seek(self._ends[known])
        return isal_zlib.crc32(file.read(end - self._ends[known]), self._crcs[known])
