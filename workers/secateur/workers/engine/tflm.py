"""Runs model files on the real interpreter of TensorFlow Lite Micro, and finds how much working memory it needs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tflite_micro import runtime

from secateur.core.cost.lifetimes import ALIGNMENT
from secateur.core.errors import FailedPrecondition
from secateur.workers.engine.quantize import decode, encode
from secateur.workers.engine.streams import captured_stderr

_GENEROUS: Final = 1 << 24
"""First arena that is tried. In one that is far too small the interpreter can crash instead of refusing."""
_LARGEST: Final = 1 << 28
_SEARCH_SECONDS: Final = 300
_RECORDED: Final = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True, slots=True)
class Arena:
    """Memory of one model on TensorFlow Lite Micro, in bytes.

    The host's pointers are 64 bits wide and the recording allocator keeps its own books in the arena, so a 32-bit device
    needs no more than this.

    Args:
        smallest: Smallest arena in which the interpreter starts. This is the figure to hold against a limit: with one step
            less the model does not run.
        recorded: What the interpreter records as in use after the start. Up to about a kilobyte below `smallest`, because
            planning the memory needs room that is free again afterwards.
        head: Share of `recorded` for feature maps and scratch buffers.
        tail: Share of `recorded` that lives as long as the interpreter.
    """

    smallest: int
    recorded: int
    head: int
    tail: int


def outputs_on_tflm(model: bytes, images: NDArray[np.float32], *, arena_bytes: int | None = None) -> NDArray[np.float32]:
    """Returns the real-valued outputs, shape (n, classes), as TensorFlow Lite Micro's reference kernels compute them.

    Args:
        model: Bytes of a .tflite file with batch 1.
        images: Shape (n, height, width, channels), values in [0, 1].
        arena_bytes: Size of the tensor arena; None for ten times the file.

    Raises:
        RuntimeError: If the arena is too small.
    """
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    given, returned = interpreter.get_input_details(0), interpreter.get_output_details(0)
    raw = []
    for image in encode(images, given["dtype"], *_quantization(given)):
        interpreter.set_input(image[np.newaxis], 0)
        interpreter.invoke()
        raw.append(interpreter.get_output(0)[0].copy())
    return decode(np.stack(raw), *_quantization(returned))


def classify_on_tflm(model: bytes, images: NDArray[np.float32], *, arena_bytes: int | None = None) -> NDArray[np.int64]:
    """Returns the label of every image, shape (n,); see `outputs_on_tflm`."""
    labels: NDArray[np.int64] = outputs_on_tflm(model, images, arena_bytes=arena_bytes).argmax(axis=1)
    return labels


def measure_arena(model: bytes) -> Arena:
    """Measures the tensor arena of a .tflite file.

    Raises:
        FailedPrecondition: TFLM_UNSUPPORTED, if the interpreter does not start even with a very large arena.
        CalledProcessError: If the search for it is killed.
        TimeoutExpired: If it takes more than five minutes.
    """
    with captured_stderr() as log:
        enough = _enough_for(model)
        if enough is not None:
            runtime.Interpreter.from_bytes(model, arena_size=enough).print_allocations()
    if enough is None:
        raise FailedPrecondition(
            "TFLM_UNSUPPORTED", f"TensorFlow Lite Micro cannot start this model. It says: {log.text.strip().splitlines()[-1]}"
        )
    recorded = {part: int(size) for part, size in _RECORDED.findall(log.text)}
    smallest = _smallest_between(model, recorded["total"] // ALIGNMENT - 1, enough // ALIGNMENT)
    return Arena(smallest * ALIGNMENT, recorded["total"], recorded["head"], recorded["tail"])


def _quantization(details: dict[str, Any]) -> tuple[float, int]:
    """Returns scale and zero point of an input or output; of float ones, which have none, 1 and 0."""
    parameters = details["quantization_parameters"]
    return (parameters["scales"][0], parameters["zero_points"][0]) if len(parameters["scales"]) else (1.0, 0)


def _enough_for(model: bytes) -> int | None:
    size = _GENEROUS
    while not _starts(model, size):
        size *= 2
        if size > _LARGEST:
            return None
    return size


def _smallest_between(model: bytes, too_small: int, enough: int) -> int:
    """Returns the smallest arena above `too_small` and up to `enough` that works, all in units of the alignment.

    In an arena that is too small the interpreter can write past the end, so arenas are tried in processes of their own, which
    may crash.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(model)
        file.flush()
        while enough - too_small > 1:
            done = subprocess.run(  # noqa: S603 -- our own module on our own file
                [sys.executable, "-m", "secateur.workers.engine.tflm", file.name, str(too_small), str(enough)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # every arena that is too small is reported there
                check=False,
                timeout=_SEARCH_SECONDS,
            )
            if not done.stdout or done.returncode == -signal.SIGKILL:  # no crash: the kernel kills so where memory runs out
                done.check_returncode()
            too_small, enough = map(int, done.stdout.split()[-2:])
    return enough


def _narrow(model: bytes, too_small: int, enough: int) -> None:
    """Narrows the two bounds until they meet; writes what they are if the next arena crashes this process, or when they do."""
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        sys.stdout.write(f"{middle} {enough}\n")
        sys.stdout.flush()
        if _starts(model, middle * ALIGNMENT):
            enough = middle
        else:
            too_small = middle
    sys.stdout.write(f"{too_small} {enough}\n")


def _starts(model: bytes, size: int) -> bool:
    try:
        runtime.Interpreter.from_bytes(model, arena_size=size)
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    _narrow(Path(sys.argv[1]).read_bytes(), *map(int, sys.argv[2:]))
