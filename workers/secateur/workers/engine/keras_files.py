"""Keras models as `.keras` files that are the same bytes whenever the models are the same."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

_CONFIG: Final = "config.json"
_METADATA: Final = "metadata.json"
_SHARED: Final = "shared_object_id"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""
_BATCH: Final = 256


def write_keras(model: keras.Model) -> bytes:
    """Returns the bytes of a model's `.keras` file: architecture and weights.

    Left out is the time of writing; objects that layers share, which Keras tells by their address in memory, are counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        with _quiet():
            model.save(path)
        with zipfile.ZipFile(path) as saved:
            entries = {name: saved.read(name) for name in sorted(saved.namelist())}
    metadata = json.loads(entries[_METADATA])
    del metadata["date_saved"]
    entries[_METADATA] = json.dumps(metadata).encode()
    entries[_CONFIG] = json.dumps(_counted(entries[_CONFIG])).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as timeless:
        for name, data in entries.items():
            timeless.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return target.getvalue()


def read_keras(file: bytes) -> keras.Model:
    """Returns the model of a `.keras` file of ours. Never call it on bytes of a client."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(file)
        with _quiet():
            return keras.saving.load_model(path, compile=False)


def _counted(config: bytes) -> Any:
    """Returns a model's configuration with its shared objects numbered in their order."""
    numbers: dict[int, int] = {}

    def renumbered(entry: dict[str, Any]) -> dict[str, Any]:
        if _SHARED in entry:
            entry[_SHARED] = numbers.setdefault(entry[_SHARED], len(numbers) + 1)
        return entry

    return json.loads(config, object_hook=renumbered)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keras copies TensorFlow's variables in a way that NumPy 2 warns about as deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def outputs_of(model: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the outputs, shape (n, classes), of a model for images of shape (n, height, width, channels).

    Operation by operation: `predict` would compile the network first, which for a deep one takes longer than all the rest.
    """
    batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    outputs: list[Any] = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    return np.concatenate(outputs).astype(np.float32)
