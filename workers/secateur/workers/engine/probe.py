"""A fresh process that only loads and runs one model: `python -m secateur.workers.engine.probe MODEL IMAGES`.

What a worker process holds (frameworks, data, the model in training) would drown these figures, so they are taken here.
MODEL is a .tflite file, IMAGES a .npy file of shape (n, height, width, channels). Writes one JSON object on stdout.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from secateur.workers.engine.litert import LiteRt

_WARM_UP: Final = 20


@dataclass(frozen=True, slots=True)
class Probe:
    """Figures of one process that runs one model on LiteRT with one thread.

    Args:
        load_ms: From the bytes of the file to the first result.
        latency_ms: Time of every inference after the warm-up, input and output copies included.
        baseline_bytes: Peak resident memory of the process before the model was loaded.
        peak_bytes: Peak resident memory of the process at its end.
    """

    load_ms: float
    latency_ms: tuple[float, ...]
    baseline_bytes: int
    peak_bytes: int


def main(model_path: str, images_path: str) -> Probe:
    """Measures the model at `model_path` on every image of `images_path`."""
    images = np.load(images_path)
    model = Path(model_path).read_bytes()
    baseline = _peak_resident_bytes()
    start = time.perf_counter_ns()
    interpreter = LiteRt(model)
    encoded = interpreter.encode(images)[:, np.newaxis]
    interpreter.invoke(encoded[0])
    load = time.perf_counter_ns() - start
    for index in range(_WARM_UP):
        interpreter.invoke(encoded[index % len(encoded)])
    samples = []
    for image in encoded:
        start = time.perf_counter_ns()
        interpreter.invoke(image)
        samples.append((time.perf_counter_ns() - start) / 1e6)
    return Probe(load / 1e6, tuple(samples), baseline, _peak_resident_bytes())


def _peak_resident_bytes() -> int:
    # Not getrusage: its figure survives exec, so here it would be that of the worker that started this process.
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match, "Linux lists the peak resident memory of every process"
    return int(match[1]) * 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(*sys.argv[1:]))))
