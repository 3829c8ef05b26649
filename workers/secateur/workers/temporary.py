"""A folder for the temporary files of a worker and of the processes that it starts, which may be killed at any time."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "secateur-worker-"
_LOCK: Final = "lock"
"""File in the folder that its owner holds locked, so for as long as the owner lives."""


class TemporaryFolder:
    """A new folder among the temporary files of this machine, after those of owners that were killed have been removed.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        _remove_abandoned()
        self.path, self._lock = _claimed()

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _claimed() -> tuple[str, int]:
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        lock = os.open(f"{path}/{_LOCK}", os.O_CREAT | os.O_RDWR)
        if _locks(lock) and os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)  # another worker that has just started took it for abandoned


def _remove_abandoned() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # not claimed yet, gone by now, or somebody else's
            lock = os.open(path / _LOCK, os.O_RDWR)
            try:
                if _locks(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _locks(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
