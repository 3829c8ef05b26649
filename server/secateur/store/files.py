"""Whole files under a root, in a folder or in any store that fsspec knows: published at once, or not there."""

from __future__ import annotations

import os
import shutil
import uuid
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, cast

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

CHUNK_BYTES: Final = 1024 * 1024
"""Bytes that are copied at once."""


class FileSystem:
    """Files under one root. Paths are relative to it, with slashes.

    Args:
        url: Root as fsspec writes it, for example "file:///var/lib/secateur/blobs" or "s3://bucket/prefix".
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def exists(self, path: str) -> bool:
        """Returns whether there is such a file."""
        return bool(self._fs.exists(self._at(path)))

    def size(self, path: str) -> int | None:
        """Returns the length of a file in bytes; None if there is none."""
        try:
            return int(self._fs.size(self._at(path)))
        except FileNotFoundError:
            return None

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the length in bytes of every file below a folder, by its path from there; the folder need not be there."""
        place = self._at(folder)
        self._fs.invalidate_cache(place)
        return {path.removeprefix(f"{place}/"): int(info["size"]) for path, info in self._fs.find(place, detail=True).items()}

    def modified(self, path: str) -> datetime:
        """Returns when a file was published, aware. Raises FileNotFoundError."""
        return cast("datetime", self._fs.modified(self._at(path)))

    def open(self, path: str) -> BinaryIO:
        """Opens a file for reading. Raises FileNotFoundError."""
        return cast("BinaryIO", self._fs.open(self._at(path), "rb"))

    def read(self, path: str) -> bytes | None:
        """Returns all of a file; None if there is none."""
        try:
            return bytes(self._fs.cat_file(self._at(path)))
        except FileNotFoundError:
            return None

    def publish(self, source: BinaryIO, path: str) -> None:
        """Copies a file to its place, over what is there: nobody ever sees a part of it."""
        if isinstance(self._fs, LocalFileSystem):
            _publish_locally(source, Path(self._at(path)), Path(self._root) / "incoming")
        else:
            with self._fs.open(self._at(path), "wb") as file:  # object stores show an object only once it is complete
                shutil.copyfileobj(source, file, CHUNK_BYTES)

    def remove(self, folder: str) -> None:
        """Removes a folder and all in it; it need not be there."""
        try:
            self._fs.rm(self._at(folder), recursive=True)
        except FileNotFoundError:
            return

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def _publish_locally(source: BinaryIO, path: Path, incoming: Path) -> None:
    incoming.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = incoming / uuid.uuid4().hex
    try:
        with unfinished.open("xb") as file:
            shutil.copyfileobj(source, file, CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())  # the name must not survive a power cut that the bytes do not
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
