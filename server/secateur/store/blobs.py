"""Files kept under the SHA-256 of their bytes, in a folder or in any store that fsspec knows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from secateur.core.errors import InvalidArgument, NotFound
from secateur.store.files import FileSystem
from secateur.store.quarantine import Quarantine

LIVE: Final = "sha256"
"""Folder of the blobs."""

_DIGEST: Final = re.compile("[0-9a-f]{64}")


class BlobStore:
    """A content-addressed store: a blob is immutable, complete or absent, and kept once however often it is put.

    A blob that nothing refers to is collected one day (`secateur.store.gc`): before you refer to it, put it,
    also if it is there.

    Args:
        url: Root folder as fsspec writes it, for example "file:///var/lib/secateur/blobs" or "s3://bucket/prefix".
    """

    def __init__(self, url: str) -> None:
        self._files = FileSystem(url)
        self._quarantine = Quarantine(self._files)

    def put(self, data: bytes | Path) -> str:
        """Stores bytes, or the contents of a file, and returns their SHA-256, hexadecimal."""
        with BytesIO(data) if isinstance(data, bytes) else data.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            path = path_of(digest)
            if not self._files.exists(path):
                source.seek(0)
                self._files.publish(source, path)
        return digest

    def take(self, file: Path, digest: str) -> None:
        """Stores a file whose SHA-256 is known, and which nobody writes to any more.

        Args:
            file: The file. It is moved where it can be, so it may not be there afterwards.
            digest: Its SHA-256, hexadecimal.
        """
        path = path_of(digest)
        if not self._files.exists(path):
            self._files.take(file, path)

    def size(self, digest: str) -> int:
        """Returns the length of a blob in bytes.

        Raises:
            NotFound: BLOB_MISSING.
        """
        return self._located(digest)[1]

    def read(self, digest: str, offset: int = 0, limit: int = 0) -> Iterator[bytes]:
        """Returns the bytes of a blob in chunks of at most `CHUNK_BYTES`.

        Args:
            digest: SHA-256 of the blob, hexadecimal.
            offset: First byte to read; the length of the blob reads nothing.
            limit: Most bytes to read; 0 for all.

        Raises:
            NotFound: BLOB_MISSING. At the call, not at the first chunk.
            InvalidArgument: READ_OFFSET_INVALID, if `offset` lies outside the blob.
        """
        path, size = self._located(digest)
        if not 0 <= offset <= size:
            raise InvalidArgument(
                "READ_OFFSET_INVALID", f"The file has {size} bytes; start within them. Received: {offset}", field="read_offset"
            )
        return self._chunks(digest, path, offset, min(size, offset + limit) if limit else size)

    def _chunks(self, digest: str, path: str, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            try:
                for chunk in self._files.chunks(path, start, end):
                    start += len(chunk)
                    yield chunk
            except FileNotFoundError:  # a sweep has moved it; in an object store that may be between any two chunks
                path, _ = self._located(digest)

    def url(self, digest: str, seconds: int) -> str | None:
        """Returns a URL at which anybody who has it can read the blob; None if the store has no such URLs.

        Args:
            digest: SHA-256 of the blob, hexadecimal.
            seconds: How long the URL is good for.

        Raises:
            NotFound: BLOB_MISSING.
        """
        return self._files.url(self._located(digest)[0], seconds)

    def _located(self, digest: str) -> tuple[str, int]:
        # The digest may come from a client: nothing but hexadecimal digits ever reaches a path.
        if not is_digest(digest):
            raise _missing(digest)
        live = path_of(digest)
        # Once more at the end: it may just have come back from the quarantine.
        for path in (live, *self._held(digest, live), live):
            size = self._files.size(path)
            if size is not None:
                return path, size
        raise _missing(digest)

    def _held(self, digest: str, live: str) -> Iterator[str]:
        if not self._files.exists(live):
            yield from self._quarantine.find(digest)


def is_digest(text: str) -> bool:
    """Returns whether a text can be a SHA-256, hexadecimal: the name of a blob, a checkpoint or a training."""
    return _DIGEST.fullmatch(text) is not None


def path_of(digest: str) -> str:
    """Returns where a blob lies."""
    return f"{LIVE}/{digest[:2]}/{digest[2:]}"


def _missing(digest: str) -> NotFound:
    return NotFound("BLOB_MISSING", f"There is no stored file with this SHA-256. Received: {digest}")
