"""Uploaded data sets on this machine: taken from the blob store when they are first asked for."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from secateur.core.errors import FailedPrecondition
from secateur.store.blobs import BlobStore

MAX_BYTES: Final = 20 * 2**30
"""Most bytes to keep; beyond that, what was not asked for longest goes. The newest file stays whatever its size."""

_UNFINISHED: Final = "." + 32 * "[0-9a-f]"
"""What a file is called while it is fetched."""
_UNFINISHED_SECONDS: Final = 24 * 3600.0
"""After so long without a byte, a file that is not whole has been left behind."""


class DatasetCache:
    """Files of uploaded data sets. Several processes may share a folder: a file is whole or not there.

    Args:
        blobs: Where the files come from.
        folder: Where they are kept; it is made if it does not exist.
    """

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Returns the file of a data set. Its bytes are checked whenever it is asked for.

        Args:
            digest: Its SHA-256, hexadecimal.

        Raises:
            NotFound: BLOB_MISSING.
            FailedPrecondition: DATASET_CORRUPT, if the blob store has other bytes.
        """
        path = self._folder / f"{digest}.npz"
        if path.exists() and _digest(path) == digest:
            os.utime(path)  # used now: see `_make_room`
        else:
            self._fetch(digest, path)
            self._make_room(path)
        return path

    def _fetch(self, digest: str, path: Path) -> None:
        chunks = self._blobs.read(digest)
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f".{uuid.uuid4().hex}"
        received = hashlib.sha256()
        try:
            with unfinished.open("xb") as file:
                for chunk in chunks:
                    received.update(chunk)
                    file.write(chunk)
            if received.hexdigest() != digest:
                raise FailedPrecondition(
                    "DATASET_CORRUPT",
                    f"The file of this data set was damaged after its upload; upload it again. Expected the SHA-256 {digest}. "
                    f"Received: {received.hexdigest()}",
                    field="dataset",
                )
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _make_room(self, newest: Path) -> None:
        unfinished_before = time.time() - _UNFINISHED_SECONDS
        for status, path in _there(self._folder.glob(_UNFINISHED)):
            if status.st_mtime < unfinished_before:  # whoever fetched it was killed
                path.unlink(missing_ok=True)
        room = MAX_BYTES
        files = _there(self._folder.glob("*.npz"))
        for status, path in sorted(files, key=lambda file: (file[1] == newest, file[0].st_mtime), reverse=True):
            room -= status.st_size
            if room < 0 and path != newest:
                path.unlink(missing_ok=True)


def _there(paths: Iterable[Path]) -> Iterator[tuple[os.stat_result, Path]]:
    for path in paths:
        with suppress(FileNotFoundError):  # another worker has just removed it
            yield path.stat(), path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
