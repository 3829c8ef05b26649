"""Files that are still being uploaded: kept in parts, beside the blobs, so that any server can go on with them.

The bytes that arrive are written as parts, each named by the range that it holds. Two uploads of one file at a time, or one
that started over, may leave parts that overlap: as the file is named by its digest, which is checked when it is whole, every
part of a range is taken for as good as another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import BinaryIO, Final

from secateur.store.files import CHUNK_BYTES, FileSystem

PART_BYTES: Final = 4 * 1024 * 1024
"""Bytes to write as one part: what is lost when an upload breaks off is less than that."""

_ROOT: Final = "uploads"
_PROJECT: Final = re.compile("[a-z][a-z0-9-]{0,62}")
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_PART: Final = re.compile("([0-9]{16})-([0-9]{16})")


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.start:016}-{self.end:016}"


class UploadStore:
    """Unfinished uploads of every project. What a project has uploaded is no help to another that only knows its digest.

    Args:
        url: The blob store, as `BlobStore` takes it.
    """

    def __init__(self, url: str) -> None:
        self._files = FileSystem(url)

    def append(self, project: str, digest: str, offset: int, data: bytes) -> None:
        """Keeps some bytes of a file.

        Args:
            project: Project that uploads it.
            digest: SHA-256 of the whole file, as announced.
            offset: Where the bytes begin in it.
            data: The bytes; `PART_BYTES` of them unless they are the last that came.
        """
        part = _Part(offset, offset + len(data))
        self._files.publish(BytesIO(data), f"{_folder(project, digest)}/{part.name}")

    def committed(self, project: str, digest: str) -> int:
        """Returns how many bytes from the start of a file are here without a gap."""
        pieces = self._pieces(project, digest)
        return pieces[-1][0].end if pieces else 0

    def copy(self, project: str, digest: str, target: BinaryIO) -> str:
        """Writes the start of a file as far as it is here without a gap, and returns the SHA-256 of that, hexadecimal."""
        received = hashlib.sha256()
        for part, skipped in self._pieces(project, digest):
            with self._files.open(f"{_folder(project, digest)}/{part.name}") as source:
                source.seek(skipped)
                while chunk := source.read(CHUNK_BYTES):
                    received.update(chunk)
                    target.write(chunk)
        return received.hexdigest()

    def held(self, project: str, *, but: str) -> int:
        """Returns how many bytes the unfinished uploads of a project take, those of the file with digest `but` aside."""
        sizes = self._files.sizes(_folder(project, but).rpartition("/")[0])
        return sum(size for path, size in sizes.items() if not path.startswith(f"{but}/"))

    def discard(self, project: str, digest: str) -> None:
        """Forgets an upload; there need not be one."""
        self._files.remove(_folder(project, digest))

    def discard_stale(self, before: datetime, *, dry_run: bool = False) -> int:
        """Forgets every upload that nothing was added to since a time, whatever project began it, and returns how many it was.

        Args:
            before: The time, aware.
            dry_run: Only count.
        """
        latest: dict[str, datetime] = {}
        for path, entry in self._files.entries(_ROOT).items():
            upload = path.rpartition("/")[0]
            latest[upload] = max(entry.modified, latest.get(upload, entry.modified))
        stale = [upload for upload, written in latest.items() if written < before]
        for upload in () if dry_run else stale:
            self._files.remove(f"{_ROOT}/{upload}")
        return len(stale)

    def _pieces(self, project: str, digest: str) -> list[tuple[_Part, int]]:
        """Returns the parts that cover the start of a file, and how many bytes to skip of each."""
        pieces, position = [], 0
        for part in sorted(_parts(self._files.sizes(_folder(project, digest)))):
            if part.start <= position < part.end:
                pieces.append((part, position - part.start))
                position = part.end
        return pieces


def _parts(sizes: Mapping[str, int]) -> Iterator[_Part]:
    for name, size in sizes.items():
        if found := _PART.fullmatch(name):
            part = _Part(int(found[1]), int(found[2]))
            if size == part.end - part.start:
                yield part


def _folder(project: str, digest: str) -> str:
    # Both come from a client: nothing but what an id and a digest are made of ever reaches a path.
    if not _PROJECT.fullmatch(project) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"An upload is named by a project and a SHA-256. Received: {project}, {digest}")
    return f"{_ROOT}/{project}/{digest}"
