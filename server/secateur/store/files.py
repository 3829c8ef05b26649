"""Whole files under a root, in a folder or in any store that fsspec knows: published at once, or not there."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import fsspec.core
import structlog
from fsspec.implementations.local import LocalFileSystem

from secateur.core.errors import Unavailable

CHUNK_BYTES: Final = 1024 * 1024
"""Bytes that are copied at once."""

_REMOTE_BLOCK_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one request to an object store: what an open file takes of memory, and a part of a multipart upload (S3: 5 MiB)."""

_INCOMING: Final = "incoming"

_UNFINISHED: Final = re.compile("[0-9a-f]{32}")

_log = structlog.get_logger(__name__)

_S3_OPTIONS: Final = {
    "use_listings_cache": False,  # other processes write too
    "default_block_size": _REMOTE_BLOCK_BYTES,
    "default_cache_type": "readahead",
    "default_fill_cache": False,
    "config_kwargs": {
        "signature_version": "s3v4",  # of presigned URLs too, where the older one is the default
        "connect_timeout": 5,  # seconds; every request is tried five times unless AWS_MAX_ATTEMPTS says otherwise
        "read_timeout": 30,
    },
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a listing shows it.

    Args:
        size: Its length in bytes.
        modified: When it was published, aware, by the clock of the file system.
    """

    size: int
    modified: datetime


class FileSystem:
    """Files under one root. Paths are relative to it, with slashes.

    Endpoint, region and credentials of S3 come from the usual AWS environment (`AWS_ENDPOINT_URL_S3`, `AWS_ACCESS_KEY_ID`,
    `AWS_PROFILE`, the role of the machine and so on): they are in no setting of ours, hence in no log.

    Args:
        url: Root as fsspec writes it, for example "file:///var/lib/secateur/blobs" or "s3://bucket/prefix".
    """

    def __init__(self, url: str) -> None:
        options = _S3_OPTIONS if url.startswith("s3://") else {}
        self._fs, self._root = fsspec.core.url_to_fs(url, **options)
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._failures = _failures(url)

    @contextmanager
    def available(self) -> Iterator[None]:
        """Turns what an outage of the store raises into one error. A missing file is not an outage, a missing bucket is.

        Whatever is done with the store's files is done in this block.

        Raises:
            Unavailable: BLOBS_UNAVAILABLE.
        """
        try:
            yield
        except self._failures as error:
            if _says_no_bucket(error):
                bucket = self._root.partition("/")[0]
                _log.warning("blobs_unavailable", error=f"There is no bucket {bucket}")
                raise Unavailable(
                    "BLOBS_UNAVAILABLE",
                    f"The blob store's bucket does not exist; create it, or correct SECATEUR_BLOB_URL. Received: {bucket}",
                ) from error
            if isinstance(error, FileNotFoundError):
                raise
            _log.warning("blobs_unavailable", error=f"{type(error).__name__}: {error}")
            raise Unavailable(
                "BLOBS_UNAVAILABLE", "The blob store cannot be reached, is full or refuses; send the same request again"
            ) from error

    def exists(self, path: str) -> bool:
        """Returns whether there is such a file."""
        return self.size(path) is not None  # s3fs's own says so of a bucket that is missing too

    def size(self, path: str) -> int | None:
        """Returns the length of a file in bytes; None if there is none."""
        with suppress(FileNotFoundError), self.available():
            return int(self._fs.size(self._at(path)))
        return None

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the length in bytes of every file below a folder, by its path from there; the folder need not be there."""
        return {path: int(info["size"]) for path, info in self._find(folder).items()}

    def entries(self, folder: str) -> dict[str, Entry]:
        """Returns every file below a folder by its path from there; the folder need not be there."""
        return {path: Entry(int(info["size"]), _published(info)) for path, info in self._find(folder).items()}

    def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders in a folder, which need not be there."""
        place = self._at(folder)
        found: list[dict[str, Any]] = []
        with suppress(FileNotFoundError), self.available():
            found = self._fs.ls(place, detail=True)
        return [info["name"].rpartition("/")[2] for info in found if info["type"] == "directory"]

    def chunks(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """Yields the bytes of a file from `start` to `end` in chunks of at most `CHUNK_BYTES`.

        Raises:
            FileNotFoundError: At the first chunk.
            EOFError: If the file ends early.
        """
        with ExitStack() as opened:
            with self.available():
                file = opened.enter_context(cast("BinaryIO", self._fs.open(self._at(path), "rb")))
                file.seek(start)
            while start < end:
                with self.available():
                    chunk = file.read(min(CHUNK_BYTES, end - start))
                if not chunk:
                    raise EOFError(f"The file {path} ends {end - start} bytes early")
                start += len(chunk)
                yield chunk

    def read(self, path: str) -> bytes | None:
        """Returns all of a file; None if there is none."""
        with suppress(FileNotFoundError), self.available():
            return bytes(self._fs.cat_file(self._at(path)))
        return None

    def local(self, path: str) -> Path | None:
        """Returns where a file lies in a folder of this machine; None in an object store."""
        return Path(self._at(path)) if self._is_local else None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yields a local place for a new file, from which `take` moves it if it can. It is removed at the end of the block."""
        if not self._is_local:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / "file"
            return
        incoming = Path(self._at(_INCOMING))
        incoming.mkdir(parents=True, exist_ok=True)
        file = incoming / uuid.uuid4().hex
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    def take(self, file: Path, path: str) -> None:
        """Publishes a file of this machine that nobody writes to any more. Where it can be moved, it is not there afterwards.

        Args:
            file: The file.
            path: Its place.
        """
        if self._is_local:
            with self.available():
                with file.open("rb") as written:
                    os.fsync(written.fileno())  # the name must not survive a power cut that the bytes do not
                try:
                    _rename(file, Path(self._at(path)))
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                else:
                    return
        with file.open("rb") as source:
            self.publish(source, path)

    def publish(self, source: BinaryIO, path: str) -> None:
        """Copies a file to its place, over what is there: nobody ever sees a part of it. Nothing of it stays if it fails."""
        if self._is_local:
            with self.scratch() as unfinished:
                with unfinished.open("xb") as file:
                    self._copy(source, file)
                self.take(unfinished, path)
            return
        start = _read_fully(source, _REMOTE_BLOCK_BYTES)
        if len(start) < _REMOTE_BLOCK_BYTES:
            with self.available():
                self._fs.pipe_file(self._at(path), start)
            return
        with self.available():
            remote = self._fs.open(self._at(path), "wb")
        try:
            with self.available():
                remote.write(start)
            self._copy(source, remote)
            with self.available():
                remote.close()
        except BaseException:
            with suppress(*self._failures):  # what is left of it where the store is away goes with the garbage
                remote.discard()
            remote.closed = True  # or it would be finished when it is finalised
            raise

    def move(self, path: str, target: str) -> None:
        """Moves a file; an object store copies it first. Raises FileNotFoundError."""
        with self.available():
            if self._is_local:
                place = Path(self._at(target))
                place.parent.mkdir(parents=True, exist_ok=True)
                Path(self._at(path)).replace(place)
            else:
                self._fs.cp_file(self._at(path), self._at(target))
                self._fs.rm_file(self._at(path))

    def delete(self, path: str) -> None:
        """Removes one file; it need not be there."""
        with suppress(FileNotFoundError), self.available():
            self._fs.rm_file(self._at(path))

    def discard_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """Removes the unfinished files of processes that were killed while publishing, and returns how many there were.

        Args:
            before: What was begun earlier is taken to be abandoned.
            dry_run: Only count.
        """
        if self._is_local:
            found = self.entries(_INCOMING)
            left = [name for name, entry in found.items() if _UNFINISHED.fullmatch(name) and entry.modified < before]
            for path in () if dry_run else left:
                self.delete(f"{_INCOMING}/{path}")
            return len(left)
        if not hasattr(self._fs, "list_multipart_uploads"):
            return 0
        bucket, _, folder = self._root.partition("/")
        prefix = f"{folder}/" if folder else ""  # what lies beside our folder may be another store's
        with self.available():
            uploads = [
                upload
                for upload in self._fs.list_multipart_uploads(bucket)
                if upload["Key"].startswith(prefix) and upload["Initiated"] < before
            ]
            for upload in () if dry_run else uploads:
                self._fs.abort_mpu(bucket, upload["Key"], upload["UploadId"])
        return len(uploads)

    def url(self, path: str, seconds: int) -> str | None:
        """Returns a URL at which anybody can read the file for so long; None if the store has no such URLs."""
        return str(self._fs.sign(self._at(path), expiration=seconds)) if "s3" in self._fs.protocol else None

    def remove(self, folder: str) -> None:
        """Removes a folder and all in it; it need not be there. What others publish meanwhile may stay."""
        with suppress(FileNotFoundError), self.available():
            if self._is_local:
                shutil.rmtree(self._at(folder), onerror=_unless_others_were_faster)
            else:
                self._fs.rm(self._at(folder), recursive=True)

    def remove_empty(self, folder: str) -> None:
        """Removes a folder if it is empty; an object store has no empty folders."""
        if self._is_local:
            with suppress(OSError):  # it is not empty, or gone
                Path(self._at(folder)).rmdir()

    def _copy(self, source: BinaryIO, target: BinaryIO) -> None:
        while chunk := source.read(CHUNK_BYTES):
            with self.available():
                target.write(chunk)

    def _find(self, folder: str) -> dict[str, dict[str, Any]]:
        place = self._at(folder)
        with self.available():
            return {path.removeprefix(f"{place}/"): info for path, info in self._fs.find(place, detail=True).items()}

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def _failures(url: str) -> tuple[type[Exception], ...]:
    """Returns what a store raises that cannot be reached, is full or refuses."""
    if not url.startswith("s3://"):
        return (OSError,)
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    # What S3 itself answers is translated to OSError by s3fs.
    return OSError, BotoCoreError, ClientError


def _says_no_bucket(error: Exception) -> bool:
    """Returns whether S3 says that the bucket is missing; s3fs makes a FileNotFoundError of that, as of a missing file."""
    answer: dict[str, Any] = getattr(error.__cause__, "response", {})
    return bool(answer.get("Error", {}).get("Code") == "NoSuchBucket")


def _published(info: dict[str, Any]) -> datetime:
    if "mtime" in info:
        return datetime.fromtimestamp(info["mtime"], UTC)
    return cast("datetime", info.get("LastModified") or info["created"])


def _read_fully(source: BinaryIO, size: int) -> bytes:
    """Returns so many bytes, fewer only at the end of the file: one read may give less."""
    data = bytearray()
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return bytes(data)


def _rename(file: Path, place: Path) -> None:
    """Moves a file within its file system, so that it is still there after a power cut."""
    try:
        file.replace(place)
    except FileNotFoundError:  # nobody has made the folder, or somebody has just removed it
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
        _sync_folder(place.parent.parent)
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):  # somebody has just removed it
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unless_others_were_faster(*failed: Any) -> None:
    error: BaseException = failed[2][1]  # what `shutil.rmtree` was doing, where, and what became of it
    if not isinstance(error, OSError) or error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
        raise error
