"""What the C library does with memory that is freed; for servers and workers alike."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Numbers of glibc's malloc.h."""

_MAPPED_FROM: Final = 32 * 2**20
"""Bytes of an allocation that is mapped by itself, and unmapped when it is freed: the largest that glibc takes."""


def keep_freed_memory(most_bytes: int = 2**31 - 1) -> None:
    """Has glibc keep freed memory for the next allocation, until the process ends; does nothing on another C library.

    By default it gives memory back to the kernel at once, which clears the pages and hands them out anew. Where as much is
    wanted again and again, the chunks of a stream or the feature maps of a training, that costs more than the work itself.

    Args:
        most_bytes: Free memory at the end of a heap that is kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, most_bytes)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
