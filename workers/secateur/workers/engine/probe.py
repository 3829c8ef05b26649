"""A fresh process that only loads and runs one model: `python -m secateur.workers.engine.probe MODEL IMAGES [OPERATOR ...]`.

What a worker process holds (frameworks, data, the model in training) would drown these figures, so they are taken here.
MODEL is a .tflite file, IMAGES a .npy file of shape (n, height, width, channels), every OPERATOR a .tflite file of a single
operator, which is timed after everything else. Writes one JSON object on stdout.
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
_OPERATOR_WARM_UP: Final = 5
_OPERATOR_RUNS: Final = 30
_NS_PER_MS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Probe:
    """Figures of one process that runs one model on LiteRT with one thread.

    Args:
        load_ms: From the bytes of the file to the first result.
        latency_ms: Time of every inference after the warm-up, input and output copies included.
        baseline_bytes: Peak resident memory of the process before the model was loaded.
        peak_bytes: Peak resident memory of the process once it has run the model on all images.
        resident_bytes: Resident memory of the process at that time.
        run_ms: Wall time of running the model on all images, one after the other, after the warm-up.
        processor_ms: Time that processors spent on it, of all threads together.
        operators_ms: Median time of every operator on its own.
    """

    load_ms: float
    latency_ms: tuple[float, ...]
    baseline_bytes: int
    peak_bytes: int
    resident_bytes: int
    run_ms: float
    processor_ms: float
    operators_ms: tuple[float, ...]


def main(model_path: str, images_path: str, *operator_paths: str) -> Probe:
    """Measures the model at `model_path` on every image of `images_path`, then the operators."""
    images = np.load(images_path)
    model = Path(model_path).read_bytes()
    baseline = _memory("VmHWM")
    start = time.perf_counter_ns()
    interpreter = LiteRt(model)
    encoded = interpreter.encode(images)[:, np.newaxis]
    interpreter.invoke(encoded[0])
    load = time.perf_counter_ns() - start
    for index in range(_WARM_UP):
        interpreter.invoke(encoded[index % len(encoded)])
    samples = []
    began, processor_began = time.perf_counter_ns(), time.process_time_ns()
    for image in encoded:
        start = time.perf_counter_ns()
        interpreter.invoke(image)
        samples.append((time.perf_counter_ns() - start) / _NS_PER_MS)
    run, processor = time.perf_counter_ns() - began, time.process_time_ns() - processor_began
    return Probe(
        load_ms=load / _NS_PER_MS,
        latency_ms=tuple(samples),
        baseline_bytes=baseline,
        peak_bytes=_memory("VmHWM"),
        resident_bytes=_memory("VmRSS"),
        run_ms=run / _NS_PER_MS,
        processor_ms=processor / _NS_PER_MS,
        operators_ms=tuple(_operator_ms(Path(path).read_bytes()) for path in operator_paths),
    )


def _operator_ms(model: bytes) -> float:
    interpreter = LiteRt(model)
    samples = [interpreter.time_ns() for _ in range(_OPERATOR_WARM_UP + _OPERATOR_RUNS)]
    return float(np.median(samples[_OPERATOR_WARM_UP:])) / _NS_PER_MS


def _memory(entry: str) -> int:
    """Returns an entry of the kernel's account of this process, in bytes.

    Not getrusage: its peak survives exec, so here it would be that of the worker that started this process.
    """
    match = re.search(rf"^{entry}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match, "Linux lists the memory of every process"
    return int(match[1]) * 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(*sys.argv[1:]))))
