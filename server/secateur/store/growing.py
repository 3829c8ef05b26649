"""A file of this machine that grows at its end, past the page cache."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 64 * 1024
"""What goes past the page cache begins and ends at multiples of this: of as much as any file system asks for, and more."""

_PAST_CACHE: Final = getattr(os, "O_DIRECT", 0)
"""0 where there is no such thing."""


class GrowingFile:
    """Adds bytes to the end of a new file.

    To find pages for a file of hundreds of megabytes, and to copy it there, takes longer than to hash it, and it drives out
    what the database wants to have in memory; so whole blocks go to the disk from here, where the file system allows it.

    Args:
        path: Where the file is made; its folder is there, and it is not.
    """

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "xb")
        self._size = 0
        self._buffer = mmap.mmap(-1, 1)  # it begins where a page does, as memory has to that a disk reads from

    def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Adds bytes: when it returns, they outlive a power cut.

        Args:
            chunks: The bytes.
        """
        size = sum(map(len, chunks))
        if size > len(self._buffer):
            self._buffer = mmap.mmap(-1, size)
        end = 0
        for chunk in chunks:
            self._buffer[end : end + len(chunk)] = chunk
            end += len(chunk)
        self._pass_cache(size % _BLOCK_BYTES == 0 and self._size % _BLOCK_BYTES == 0)
        with memoryview(self._buffer) as view:
            written = 0
            while written < size:
                written += os.write(self._file.fileno(), view[written:size])
        os.fdatasync(self._file.fileno())
        self._size += size

    def close(self) -> None:
        """Ends writing."""
        self._file.close()

    def _pass_cache(self, wanted: bool) -> None:
        flags = fcntl.fcntl(self._file.fileno(), fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._file.fileno(), fcntl.F_SETFL, flags | _PAST_CACHE if wanted else flags & ~_PAST_CACHE)
        except OSError as error:
            if error.errno != errno.EINVAL:  # which says that this file system knows no such thing
                raise
