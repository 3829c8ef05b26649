"""Files that are still being uploaded: kept in parts, beside the blobs, so that any server can go on with them.

The bytes that arrive are written as parts, each named by the range that it holds. Two uploads of one file at a time, or one
that started over, may leave parts that overlap: as the file is named by its digest, which is checked when it is whole, every
part of a range is taken for as good as another.

In an object store every write is a part. In a folder a writer has one part that grows: bytes are added to its end and synced,
and only then it gets the name that tells of them. So what a name tells is there after a power cut, what a part has beyond it
does not count, and a part that has come to hold all of the file is linked to its place rather than copied.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Final
from uuid import uuid4

from secateur.core.access import PROJECT_ID
from secateur.store.blobs import is_digest
from secateur.store.checksums import Checksums
from secateur.store.files import FileSystem
from secateur.store.growing import GrowingFile

PART_BYTES: Final = 6 * 1024 * 1024
"""Bytes to write at once: what is lost when an upload breaks off is less than twice that."""

_ROOT: Final = "uploads"
_UPLOAD: Final = re.compile(f"({PROJECT_ID.pattern})/([0-9a-f]{{64}})")
_PART: Final = re.compile("([0-9]{16})-([0-9]{16})(-[0-9a-f]{32})?")


def new_buffer() -> memoryview:
    """Returns memory for `PART_BYTES`, from where a disk can take them without a copy: it begins where a page does."""
    return memoryview(mmap.mmap(-1, PART_BYTES))


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    start: int
    end: int
    writer: str = ""
    """Suffix that tells one writer's part from another's, its dash included; empty for parts that are written at once and
    never grow."""

    @property
    def name(self) -> str:
        return f"{self.start:016}-{self.end:016}{self.writer}"


class UploadWriter:
    """Writes the bytes of one file as they come from one client. Close it at the end.

    What is written is told to `write` and to `hash`, in the same order; one may run beside the other, none beside itself.

    Args:
        files: File system of the blob store.
        folder: Folder of the upload.
        offset: Where in the file the first bytes begin.
    """

    def __init__(self, files: FileSystem, folder: str, offset: int) -> None:
        self._files = files
        self._folder = folder
        self._local = files.local(folder)
        self._checksums = Checksums()
        self._part = _Part(offset, offset)
        self._file: GrowingFile | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Keeps some bytes: when it returns, they outlive a power cut.

        Args:
            data: The bytes. Each call is synced, and a part of its own in an object store: give about `PART_BYTES`, in a
                `new_buffer`.
        """
        if self._local is None:
            part = _Part(self._part.end, self._part.end + len(data))
            self._files.publish(BytesIO(data), f"{self._folder}/{part.name}")
            self._part = replace(self._part, end=part.end)
            return
        try:
            with self._files.available():
                self._grow(self._local, data)
        except FileNotFoundError:  # another upload of this file has come to its end, and cleared the parts away
            self.close()
            self._part = _Part(self._part.end, self._part.end)
            with self._files.available():
                self._grow(self._local, data)

    def hash(self, data: bytes | memoryview) -> None:
        """Takes bytes into the checksums.

        Args:
            data: The bytes.
        """
        self._checksums.update(data)

    def whole(self, size: int) -> tuple[Path, Checksums] | None:
        """Returns the file and its checksums if this writer has written all of it in one place; else None.

        Args:
            size: Length of the file, at least 1.
        """
        if self._local is None or (self._part.start, self._part.end) != (0, size):
            return None
        return self._local / self._part.name, self._checksums

    def close(self) -> None:
        """Ends writing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _grow(self, folder: Path, data: bytes | memoryview) -> None:
        """Adds bytes to the end of the part, then renames it after the range that it now holds."""
        if self._file is None:
            self._part = replace(self._part, writer=f"-{uuid4().hex}")
            folder.mkdir(parents=True, exist_ok=True)
            self._file = GrowingFile(folder / self._part.name)
        self._file.append(data)
        part = replace(self._part, end=self._part.end + len(data))
        (folder / self._part.name).rename(folder / part.name)
        self._part = part


class UploadStore:
    """Unfinished uploads of every project. What a project has uploaded is no help to another that only knows its digest.

    Args:
        url: The blob store, as `BlobStore` takes it.
    """

    def __init__(self, url: str) -> None:
        self._files = FileSystem(url)

    def writer(self, project: str, digest: str, offset: int) -> UploadWriter:
        """Returns what keeps the bytes of a file.

        Args:
            project: Project that uploads it.
            digest: SHA-256 of the whole file, as announced.
            offset: Where the bytes begin in it.
        """
        return UploadWriter(self._files, _folder(project, digest), offset)

    def committed(self, project: str, digest: str) -> int:
        """Returns how many bytes from the start of a file are here without a gap."""
        pieces = self._pieces(project, digest)
        return pieces[-1][0].end if pieces else 0

    @contextmanager
    def assembled(
        self, project: str, digest: str, whole: tuple[Path, Checksums] | None = None
    ) -> Iterator[tuple[Path, Checksums]]:
        """Puts the start of a file together as far as it is here without a gap. The parts stay until they are discarded.

        Args:
            project: Project that uploads it.
            digest: SHA-256 of the whole file, as announced.
            whole: What `UploadWriter.whole` says: then nothing is copied, if the file system knows links.

        Yields:
            A file of this machine, from where it is quick to the blobs, and its checksums. It goes with the block.
        """
        checksums = Checksums()
        with self._files.scratch() as path:
            if whole is not None and _is_linked(whole[0], path):
                yield path, whole[1]
                return
            with self._files.available(), path.open("xb") as target:
                for part, skipped in self._pieces(project, digest):
                    name = f"{_folder(project, digest)}/{part.name}"
                    for chunk in self._files.chunks(name, skipped, part.end - part.start):
                        checksums.update(chunk)
                        target.write(chunk)
            yield path, checksums

    def held(self, project: str, *, but: str) -> int:
        """Returns how many bytes the unfinished uploads of a project take, those of the file with digest `but` aside."""
        sizes = self._files.sizes(_folder(project, but).rpartition("/")[0])
        return sum(size for path, size in sizes.items() if not path.startswith(f"{but}/"))

    def discard(self, project: str, digest: str) -> None:
        """Forgets an upload; there need not be one."""
        self._files.remove(_folder(project, digest))

    def stale(self, before: datetime) -> list[tuple[str, str]]:
        """Returns project and digest of every upload that nothing was added to since a time, whatever project began it.

        Args:
            before: The time, aware.
        """
        latest: dict[tuple[str, str], datetime] = {}
        for path, entry in self._files.entries(_ROOT).items():
            folder, _, name = path.rpartition("/")
            if (found := _UPLOAD.fullmatch(folder)) and _PART.fullmatch(name):  # what is not ours may lie anywhere, and stays
                upload = found[1], found[2]
                latest[upload] = max(entry.modified, latest.get(upload, entry.modified))
        return [upload for upload, written in latest.items() if written < before]

    def _pieces(self, project: str, digest: str) -> list[tuple[_Part, int]]:
        """Returns the parts that cover the start of a file, and how many bytes to skip of each."""
        pieces, position = [], 0
        for part in sorted(_parts(self._files.sizes(_folder(project, digest)))):
            if part.start <= position < part.end:
                pieces.append((part, position - part.start))
                position = part.end
        return pieces


def _is_linked(file: Path, other: Path) -> bool:
    """Gives a file a second name (a hard link), and returns whether its file system can do that."""
    try:
        other.hardlink_to(file)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _parts(sizes: Mapping[str, int]) -> Iterator[_Part]:
    for name, size in sizes.items():
        if found := _PART.fullmatch(name):
            part = _Part(int(found[1]), int(found[2]), found[3] or "")
            if size >= part.end - part.start:
                yield part


def _folder(project: str, digest: str) -> str:
    # Both come from a client: nothing but what an id and a digest are made of ever reaches a path.
    if not PROJECT_ID.fullmatch(project) or not is_digest(digest):
        raise ValueError(f"An upload is named by a project and a SHA-256. Received: {project}, {digest}")
    return f"{_ROOT}/{project}/{digest}"
