"""Blobs that were found without a reference: out of the way, and still there should somebody have had one in mind."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from secateur.store.files import FileSystem

_ROOT: Final = "quarantine"
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_NAME: Final = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{6}Z)-[0-9a-f]{32}")
_HELD: Final = re.compile(f"([0-9a-f]{{2}})/([0-9a-f]{{62}})/{_NAME.pattern}")


@dataclass(frozen=True, slots=True)
class Held:
    """A blob in quarantine.

    Args:
        digest: Its SHA-256, hexadecimal.
        path: Where it lies.
        since: When it was put there, aware.
        size: Its length in bytes.
    """

    digest: str
    path: str
    since: datetime
    size: int


class Quarantine:
    """The quarantine of a blob store. No two files in it ever have the same name, so nobody removes what another has just put.

    Args:
        files: File system of the blob store.
    """

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def take(self, digest: str, path: str, now: datetime) -> None:
        """Moves a blob here. Raises FileNotFoundError if it is not at `path` any more."""
        name = f"{now.astimezone(UTC).strftime(_TIME)}-{uuid.uuid4().hex}"
        self._files.move(path, f"{_folder(digest)}/{name}")

    def find(self, digest: str) -> Iterator[str]:
        """Yields where a blob lies here."""
        for name in self._files.sizes(_folder(digest)):
            if _NAME.fullmatch(name):  # not what a copying tool has yet to finish
                yield f"{_folder(digest)}/{name}"

    def tidy(self, digest: str) -> None:
        """Removes the folder that a blob has left empty: every listing of the quarantine would read it."""
        self._files.remove_empty(_folder(digest))

    def held(self) -> Iterator[Held]:
        """Yields every blob here. Other files in the folder, which file systems and their tools leave there, are ignored."""
        for path, size in self._files.sizes(_ROOT).items():
            if found := _HELD.fullmatch(path):
                start, rest, time = found.groups()
                yield Held(start + rest, f"{_ROOT}/{path}", datetime.strptime(time, _TIME).replace(tzinfo=UTC), size)


def _folder(digest: str) -> str:
    return f"{_ROOT}/{digest[:2]}/{digest[2:]}"
