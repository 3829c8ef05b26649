"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from secateur.client.errors import SecateurError, UsageError

_MISPLACED: Final = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
"""What says that the path is wrong (ValueError: it has a null byte), and not, for example, that the disk is full."""


@contextmanager
def published(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that appears under its name, whole, when the block ends, and not at all when the block raises.

    Raises:
        UsageError: PATH_UNWRITABLE, if there can be no such file.
        SecateurError: WRITE_FAILED, if it cannot be written for another reason.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with suppress(OSError):  # what went wrong before it is what counts
            part.unlink()


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, unless it is there. Raises as `published` does."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> SecateurError:
    if isinstance(error, SecateurError):  # some are an OSError too
        return error
    why = getattr(error, "strerror", None) or error
    if isinstance(error, _MISPLACED):
        return UsageError(
            "PATH_UNWRITABLE", f"This cannot be written; choose another path: {why}. Received: {str(path)!r}", field="path"
        )
    return SecateurError("WRITE_FAILED", f"Writing failed, and nothing was kept: {why}. Received: {str(path)!r}", field="path")
