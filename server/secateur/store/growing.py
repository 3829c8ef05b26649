"""A file of this machine that grows at its end, past the page cache."""

from __future__ import annotations

import errno
import fcntl
import os
from io import FileIO
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 64 * 1024
"""What goes past the page cache begins and ends at multiples of this, which is more than any file system asks for."""

_PAST_CACHE: Final = getattr(os, "O_DIRECT", 0)
"""0 where the operating system has no such flag."""


class GrowingFile:
    """Adds bytes to the end of a new file.

    Copying a file of hundreds of megabytes into the page cache takes longer than hashing it, and drives out what the database
    wants to have in memory. So whole blocks go straight to the disk, where the file system allows it.

    Args:
        path: Where the file is made; its folder exists, the file does not.
    """

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "xb")
        self._size = 0

    def append(self, data: bytes | memoryview) -> None:
        """Adds bytes to the end: when it returns, they outlive a power cut.

        Args:
            data: The bytes. They go past the page cache if they begin where a page of memory does, and are whole blocks.
        """
        past_cache = len(data) % _BLOCK_BYTES == 0 == self._size % _BLOCK_BYTES
        self._pass_cache(past_cache)
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._file.fileno(), left) :]
            except OSError as error:
                if not past_cache or error.errno != errno.EINVAL:  # EINVAL: not from this address, or not so few
                    raise
                past_cache = False
                self._pass_cache(past_cache)
        os.fdatasync(self._file.fileno())
        self._size += len(data)

    def close(self) -> None:
        """Ends writing."""
        self._file.close()

    def _pass_cache(self, wanted: bool) -> None:
        flags = fcntl.fcntl(self._file.fileno(), fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._file.fileno(), fcntl.F_SETFL, flags | _PAST_CACHE if wanted else flags & ~_PAST_CACHE)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: this file system does not have the flag
                raise
