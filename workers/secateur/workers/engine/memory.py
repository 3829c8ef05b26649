"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MOST_KEPT: Final = 2**31 - 1
_MAPPED_FROM: Final = 32 * 1024 * 1024
"""The largest that glibc takes."""


def keep_freed_memory() -> None:
    """Has glibc keep freed memory for the next allocation, until the process ends; does nothing on another C library.

    TensorFlow's generator datasets, through which Keras feeds batches, have it give back whatever is freed above 128 kB.
    Feature maps are then mapped and cleared anew in every step, which takes as much processor time as the training itself. The
    setting is made when a dataset starts, so this has to be called after that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
