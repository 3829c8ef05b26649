"""What a model costs and achieves: every figure with how it was obtained and on which machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secateur.core.reports import ARENA_BYTES, PROCESS_PEAK_BYTES, ArtifactFormat, Measurement
from secateur.core.serial import from_data
from secateur.workers.engine.datasets import Split
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.probe import Probe
from secateur.workers.engine.tflm import Arena, classify_on_tflm
from secateur.workers.engine.records import Training

LATENCY_IMAGES: Final = 100
_PROBE_SECONDS: Final = 300


def measure_file(file: bytes, kind: ArtifactFormat, test: Split, reference: NDArray[np.float32]) -> tuple[Measurement, ...]:
    """Measures one artifact on this machine.

    Args:
        file: Bytes of the .tflite file.
        kind: What it is.
        test: The test split.
        reference: Outputs of the Keras model on the test split, shape (n, classes).

    Returns:
        File size, accuracy, agreement with the Keras model, latency, load time and memory use.
    """

    def figure(name: str, value: float, unit: str, method: str, samples: tuple[float, ...] = ()) -> Measurement:
        return Measurement(name, float(value), unit, method, machine(), kind, samples)

    outputs = LiteRt(file).outputs(test.images)
    labels = outputs.argmax(axis=1)
    images = f"LiteRT, 1 thread, {len(test)} images of the test split"
    probe = _probe(file, test.images[:LATENCY_IMAGES])
    p50, p90, p99 = np.percentile(probe.latency_ms, (50, 90, 99))
    runs = f"LiteRT, 1 thread, {len(probe.latency_ms)} runs after warm-up in a process of its own"
    alone = "a fresh process that only loads and runs this file on LiteRT"
    return (
        figure("flash_bytes", len(file), "bytes", "bytes of the file"),
        figure("accuracy", (labels == test.labels).mean(), "", images),
        figure("keras_agreement", (labels == reference.argmax(axis=1)).mean(), "", f"share of equal labels; {images}"),
        figure("keras_max_difference", np.abs(outputs - reference).max(), "", f"largest difference of any output; {images}"),
        figure("latency_ms", p50, "ms", f"median; {runs}", probe.latency_ms),
        figure("latency_p90_ms", p90, "ms", f"90th percentile; {runs}"),
        figure("latency_p99_ms", p99, "ms", f"99th percentile; {runs}"),
        figure("load_ms", probe.load_ms, "ms", f"from the bytes to the first result; {alone}"),
        figure(PROCESS_PEAK_BYTES, probe.peak_bytes, "bytes", f"peak resident memory (VmHWM); {alone}"),
        figure("process_baseline_bytes", probe.baseline_bytes, "bytes", f"the same before the file is loaded; {alone}"),
    )


def arena_figures(arena: Arena) -> tuple[Measurement, ...]:
    """Returns the memory that TensorFlow Lite Micro needs for the int8 file, as measurements."""

    def figure(name: str, value: int, method: str) -> Measurement:
        return Measurement(name, float(value), "bytes", method, machine(), ArtifactFormat.LITERT_INT8)

    recorded = "recorded by the TensorFlow Lite Micro interpreter after its start"
    return (
        figure(ARENA_BYTES, arena.smallest, "smallest arena in which the TensorFlow Lite Micro interpreter starts"),
        figure("arena_recorded_bytes", arena.recorded, f"arena in use, {recorded}"),
        figure("arena_head_bytes", arena.head, f"feature maps and scratch buffers, {recorded}"),
        figure("arena_tail_bytes", arena.tail, f"kept as long as the interpreter, {recorded}"),
    )


def tflm_accuracy(file: bytes, arena: Arena, test: Split) -> Measurement:
    """Measures the accuracy of the int8 file on TensorFlow Lite Micro, in exactly the arena that was found for it."""
    labels = classify_on_tflm(file, test.images, arena_bytes=arena.smallest)
    return Measurement(
        "tflm_accuracy",
        float((labels == test.labels).mean()),
        "",
        f"TensorFlow Lite Micro reference kernels, {len(test)} images of the test split",
        machine(),
        ArtifactFormat.LITERT_INT8,
    )


def figure_of(measurements: tuple[Measurement, ...], name: str, kind: ArtifactFormat | None = None) -> float:
    """Returns the value of the measurement with that name and format. Raises StopIteration if there is none."""
    return next(item.value for item in measurements if (item.name, item.format) == (name, kind))


def peak_resident_bytes(file: bytes, images: NDArray[np.float32]) -> int:
    """Returns the peak memory of a process that does nothing but run `file` on `images` with LiteRT."""
    return _probe(file, images).peak_bytes


def training_figures(training: Training) -> tuple[Measurement, ...]:
    """Returns what the training took and reached, as measurements of the network as a whole."""
    best, last = training.best, training.epochs[-1]
    return (
        Measurement("training_s", training.seconds, "s", f"wall time of {last.number} epochs, compilation included", machine()),
        Measurement("validation_accuracy", best.accuracy, "", f"Keras on the validation split, epoch {best.number}", machine()),
    )


@cache
def machine() -> str:
    """Returns the machine that this runs on, for people: "x86_64, 2 cores, AMD EPYC"."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    return ", ".join([platform.machine(), f"{cores} cores" if cores > 1 else "1 core", *([model[1]] if model else [])])


def _probe(file: bytes, images: NDArray[np.float32]) -> Probe:
    with tempfile.TemporaryDirectory() as folder:
        model_path, images_path = Path(folder, "model.tflite"), Path(folder, "images.npy")
        model_path.write_bytes(file)
        np.save(images_path, images)
        done = subprocess.run(  # noqa: S603 -- our own module on our own files
            [sys.executable, "-m", "secateur.workers.engine.probe", str(model_path), str(images_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            timeout=_PROBE_SECONDS,
        )
    return from_data(Probe, json.loads(done.stdout))
