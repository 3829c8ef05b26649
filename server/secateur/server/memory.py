"""How this process gives memory back."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Numbers of glibc's malloc.h."""

_KEPT_BYTES: Final = 64 * 2**20
"""Free memory at the end of a heap that is kept rather than given back."""
_LARGE_BYTES: Final = 16 * 2**20
"""What is mapped by itself, and unmapped when it is freed."""


def keep_freed_memory() -> None:
    """Makes malloc keep more of what is freed.

    A stream of chunks frees a few of 1 MiB with every message and asks for as many with the next. By default glibc gives each
    back to the kernel at once, which clears the pages and hands them out anew: that costs more than all the rest of a message.
    Where there is no glibc, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
