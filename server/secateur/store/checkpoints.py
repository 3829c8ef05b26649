"""Trainings between two epochs, kept in the blob store's file system until the job that made them has ended.

What is left behind, because a job ended without a worker, goes with the garbage (`secateur.store.gc`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from secateur.store.blobs import is_digest
from secateur.store.files import FileSystem

CHECKPOINTS: Final = "checkpoints"
"""Folder of the checkpoints, one folder for each job in it."""
TRAININGS: Final = "trainings"
"""Folder of the shared trainings."""


class CheckpointStore:
    """Checkpoints of one job, and trained networks that all jobs share.

    A file is complete or absent, and replaced as a whole: whoever reads while another attempt writes gets one of the two. What
    is under one key comes from one training, which gives the same on every attempt, so it does not matter who wrote last.

    Args:
        url: The blob store, as `BlobStore` takes it.
        job_id: The job.
    """

    def __init__(self, url: str, job_id: str) -> None:
        self._files = FileSystem(url)
        self._own = f"{CHECKPOINTS}/{job_id}"

    def read(self, key: str) -> bytes | None:
        """Returns what was written last under a key, by this job or as shared, or None.

        Args:
            key: Digest of everything that decides the training, 64 hexadecimal characters.
        """
        for path in (_shared(key), self._path(key)):
            if (data := self._files.read(path)) is not None:
                return data
        return None

    def write(self, key: str, data: bytes, *, shared: bool = False) -> None:
        """Replaces what is under a key.

        Args:
            key: Digest of everything that decides the training.
            data: The checkpoint.
            shared: Keep it for all jobs, also after this one has ended.
        """
        self._files.publish(BytesIO(data), _shared(key) if shared else self._path(key))

    def clear(self) -> None:
        """Removes the checkpoints of the job. Those that are shared stay."""
        self._files.remove(self._own)

    def _path(self, key: str) -> str:
        return f"{self._own}/{_checked(key)}"


def job_of(path: str) -> str | None:
    """Returns the job that a file below `CHECKPOINTS` belongs to; None if it is not one of ours."""
    job, _, key = path.partition("/")
    return job if is_digest(key) else None


def _shared(key: str) -> str:
    return f"{TRAININGS}/{_checked(key)}"


def _checked(key: str) -> str:
    if not is_digest(key):
        raise ValueError(f"A key is a SHA-256, hexadecimal. Received: {key}")
    return key
