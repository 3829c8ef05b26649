"""Data sets as files, whole and damaged."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from secateur.server.datasets.archive import Contents, inspect
from secateur.store.checksums import Checksums

CLASSES: Final = 3


def images(count: int, *, side: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Returns grey images of noise, shape (count, side, side, 1)."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def labels(count: int, *, classes: int = CLASSES) -> NDArray[np.int64]:
    """Returns labels in turn: 0, 1, 2, 0, ..."""
    return np.arange(count) % classes


def arrays(train: int = 60, test: int | None = None, *, side: int = 8, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a set of `CLASSES` classes; without `test`, without a test split."""
    made: dict[str, NDArray[Any]] = {"x_train": images(train, side=side, seed=seed), "y_train": labels(train)}
    if test is not None:
        made |= {"x_test": images(test, side=side, seed=seed + 1), "y_test": labels(test)}
    return made


def npz(found: Mapping[str, Any], *, compressed: bool = False, pickled: bool = False) -> bytes:
    """Returns arrays as NumPy saves them."""
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, allow_pickle=pickled, **found)
    return file.getvalue()


def inspected(data: bytes, class_names: tuple[str, ...] = ()) -> Contents:
    """Returns what a file holds whose bytes came in pieces of a thousand. Raises as `inspect` does."""
    checksums = Checksums()
    for start in range(0, len(data), 1_000):
        checksums.update(data[start : start + 1_000])
    return inspect(io.BytesIO(data), checksums, class_names)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Returns an archive of files as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def save_images(folder: Path, count: int, *, mode: str = "L", size: tuple[int, int] = (6, 4), suffix: str = ".png") -> None:
    """Saves images of noise: 6 wide, 4 high."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(count)
    for number in range(count):
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03}{suffix}")
