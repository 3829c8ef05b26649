"""A training between two epochs, as bytes: all that it takes to go on as if nothing had happened.

NumPy's own file format without pickles: arrays of every variable of network, optimizer and random generators, and a JSON text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from secateur.core.errors import InvalidArgument
from secateur.core.serial import from_data, to_data
from secateur.workers.engine.records import Epoch

_Arrays = list[NDArray[Any]]


class Checkpoints(Protocol):
    """Where checkpoints are kept, each under the digest of everything that decides its training."""

    def read(self, key: str) -> bytes | None:
        """Returns what was written last under a key, or None."""
        ...

    def write(self, key: str, data: bytes, *, shared: bool = False) -> None:
        """Replaces what is under a key; what is shared outlives the job."""
        ...


class Memory:
    """Checkpoints that end with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        """Returns what was written last under a key, or None."""
        return self._kept.get(key)

    def write(self, key: str, data: bytes, *, shared: bool = False) -> None:  # noqa: ARG002 -- all of it is
        """Replaces what is under a key."""
        self._kept[key] = data


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A training after some epochs.

    Args:
        variables: Of network, augmentation and optimizer, in a fixed order; none once the training has ended.
        best: Weights of the best epoch so far.
        epochs: Every epoch so far.
        restarts: How often the training had started over at a lower learning rate.
    """

    variables: _Arrays
    best: _Arrays
    epochs: tuple[Epoch, ...]
    restarts: int

    @property
    def finished(self) -> bool:
        """Whether the training has ended: what is left of it are the weights of its best epoch."""
        return not self.variables

    def write(self) -> bytes:
        """Returns the checkpoint as bytes."""
        text = json.dumps({"epochs": to_data(self.epochs), "restarts": self.restarts})
        file = io.BytesIO()
        arrays: dict[str, Any] = {"text": np.frombuffer(text.encode(), np.uint8)}
        arrays |= {f"variable{index}": value for index, value in enumerate(self.variables)}
        arrays |= {f"best{index}": value for index, value in enumerate(self.best)}
        np.savez(file, **arrays)
        return file.getvalue()

    @classmethod
    def read(cls, data: bytes) -> Checkpoint:
        """Returns the checkpoint that `write` made.

        Raises:
            InvalidArgument: CHECKPOINT_MISMATCH, if the bytes hold none.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = dict(file)
            text = json.loads(arrays.pop("text").tobytes())
            parts = {
                part: [arrays[f"{part}{index}"] for index in range(sum(name.startswith(part) for name in arrays))]
                for part in ("variable", "best")
            }
            return cls(parts["variable"], parts["best"], from_data(tuple[Epoch, ...], text["epochs"]), text["restarts"])
        except Exception as error:  # zipfile, NumPy, json and cattrs each raise their own
            raise _mismatch(f"{len(data):,} bytes that hold none: {error}") from error

    def restore(self, variables: Sequence[Any]) -> None:
        """Gives Keras variables the values that they had.

        Args:
            variables: In the order of the checkpoint's.

        Raises:
            InvalidArgument: CHECKPOINT_MISMATCH, if they do not fit.
        """
        ours, theirs = [value.shape for value in self.variables], [tuple(variable.shape) for variable in variables]
        if ours != theirs:
            raise _mismatch(f"one of {len(ours)} variables where this training has {len(theirs)}, or of other shapes")
        for variable, value in zip(variables, self.variables, strict=True):
            variable.assign(value)


def _mismatch(received: str) -> InvalidArgument:
    return InvalidArgument(
        "CHECKPOINT_MISMATCH",
        f"A checkpoint continues a training of the same network, data and recipe. Received: {received}",
        field="checkpoint",
    )
