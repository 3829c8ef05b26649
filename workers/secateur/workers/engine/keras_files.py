"""Keras models as `.keras` files that are the same bytes whenever the models are the same."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

_METADATA: Final = "metadata.json"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""
_BATCH: Final = 256


def write_keras(model: keras.Model) -> bytes:
    """Returns the bytes of a model's `.keras` file: architecture and weights. The time of writing is left out of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        with zipfile.ZipFile(path) as saved:
            entries = {name: saved.read(name) for name in sorted(saved.namelist())}
    metadata = json.loads(entries[_METADATA])
    del metadata["date_saved"]
    entries[_METADATA] = json.dumps(metadata).encode()
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
        return keras.saving.load_model(path, compile=False)


def outputs_of(model: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the outputs, shape (n, classes), of a model for images of shape (n, height, width, channels).

    Operation by operation: `predict` would compile the network first, which for a deep one takes longer than all the rest.
    """
    batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    outputs: list[Any] = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    return np.concatenate(outputs).astype(np.float32)
