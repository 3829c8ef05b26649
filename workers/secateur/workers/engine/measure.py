"""What a model costs and achieves: every figure with how it was obtained and on which machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secateur.core.cost import Cost
from secateur.core.cost.energy import horowitz, paper
from secateur.core.reports import (
    ARENA_BYTES,
    PROCESS_PEAK_BYTES,
    ArtifactFormat,
    Measurement,
    OperatorProfile,
    OperatorTime,
)
from secateur.core.serial import from_data
from secateur.workers.engine.datasets import Split
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.operators import operators_of
from secateur.workers.engine.probe import Probe
from secateur.workers.engine.records import Training
from secateur.workers.engine.tflm import Arena, outputs_on_tflm

LATENCY_IMAGES: Final = 100
"""Images of an inference run, as in seed A, section 4.3; each is a sample of the latency."""
TFLM_IMAGES: Final = 500
"""Images that TensorFlow Lite Micro classifies at most."""
_TFLM_SEED: Final = 0
"""Seed of their draw. The first images would not do: test splits are often in the order of their classes."""
_ESTIMATED_FOR: Final = "estimated for 45 nm at 0.9 V"
_HOROWITZ: Final = "4.6 pJ per 32-bit MAC, 0.23 pJ at 8 bit, 640 pJ per 32-bit word of DRAM; weights and outputs moved once"
_PAPER: Final = "the constants of seed A's tool: 2.3 pJ per MAC, 640 pJ per MB"
_PROBE_SECONDS: Final = 300
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""NumPy's threads have nothing to do in a probe, but spin for a tenth of a second: processor time that is not the model's."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one file on LiteRT.

    Args:
        figures: Its size, how well it does what the Keras model does, its time and memory.
        operators: Where its time goes.
    """

    figures: tuple[Measurement, ...]
    operators: OperatorProfile


def measure_file(
    file: bytes,
    kind: ArtifactFormat,
    test: Split,
    reference: NDArray[np.float32],
    layer_of: Callable[[str], str] = lambda _: "",
) -> Measured:
    """Measures one LiteRT file on this machine.

    Args:
        file: Bytes of the .tflite file.
        kind: What it is.
        test: The test split.
        reference: Outputs of the Keras model on the test split, shape (n, classes).
        layer_of: Returns the layer of the network that computes a tensor of the file, given the tensor's name.
    """

    def figure(name: str, value: float, unit: str, method: str, samples: tuple[float, ...] = ()) -> Measurement:
        return Measurement(name, float(value), unit, method, machine(), kind, samples)

    operators = operators_of(file)
    probe = _probe(file, test.first(LATENCY_IMAGES), [operator.file for operator in operators])
    p50, p90, p99 = np.percentile(probe.latency_ms, (50, 90, 99))
    count = len(probe.latency_ms)
    runs = f"LiteRT, 1 thread, {count} runs after warm-up in a process of its own"
    alone = "a fresh process that only loads and runs this file on LiteRT"
    row = f"{count} images one after the other; {alone}"
    figures = (
        figure("flash_bytes", len(file), "bytes", "bytes of the file"),
        *comparison(LiteRt(file).outputs(test.images), kind, test, reference, method="LiteRT, 1 thread"),
        figure("latency_ms", p50, "ms", f"median; {runs}", probe.latency_ms),
        figure("latency_p90_ms", p90, "ms", f"90th percentile; {runs}"),
        figure("latency_p99_ms", p99, "ms", f"99th percentile; {runs}"),
        figure("load_ms", probe.load_ms, "ms", f"from the bytes to the first result; {alone}"),
        figure(PROCESS_PEAK_BYTES, probe.peak_bytes, "bytes", f"peak resident memory (VmHWM); {alone}"),
        figure("process_baseline_bytes", probe.baseline_bytes, "bytes", f"the same before the file is loaded; {alone}"),
        figure("run_ms", probe.run_ms, "ms", f"wall time of {row}"),
        figure("processor_ms", probe.processor_ms, "ms", f"processor time of {row}"),
        figure(
            "processor_share",
            probe.processor_ms / probe.run_ms / _cores(),
            "",
            f"processor time as a share of {_cores()} cores; {row}",
        ),
        figure(
            "memory_share", probe.resident_bytes / _memory_bytes(), "", f"resident memory as a share of the machine's; {row}"
        ),
    )
    times = tuple(
        OperatorTime(operator.name, layer_of(operator.output), operator.output_shape, milliseconds)
        for operator, milliseconds in zip(operators, probe.operators_ms, strict=True)
    )
    method = "Median of each operator alone, in a file of its own: LiteRT, 1 thread, weights and inputs in the cache."
    return Measured(figures, OperatorProfile(kind, method, machine(), times))


def comparison(
    outputs: NDArray[np.float32], kind: ArtifactFormat, test: Split, reference: NDArray[np.float32], *, method: str
) -> tuple[Measurement, ...]:
    """Returns the accuracy of an artifact, and how far its outputs are from those of the Keras model.

    Args:
        outputs: Its outputs on these images, shape (n, classes).
        kind: What it is.
        test: The test split, or images that were drawn from it.
        reference: Outputs of the Keras model on these images.
        method: How the outputs were obtained, for people.
    """
    labels, difference = outputs.argmax(axis=1), np.abs(outputs - reference)
    images = f"{method}, {len(test)} images of the test split"
    figures = (
        ("accuracy", (labels == test.labels).mean(), images),
        ("keras_agreement", (labels == reference.argmax(axis=1)).mean(), f"share of equal labels; {images}"),
        ("keras_max_difference", difference.max(), f"largest difference of any output; {images}"),
        ("keras_mean_difference", difference.mean(), f"mean difference of all outputs; {images}"),
    )
    return tuple(Measurement(name, float(value), "", how, machine(), kind) for name, value, how in figures)


def energy_figures(cost: Cost) -> tuple[Measurement, ...]:
    """Returns the estimated energy of an inference of every LiteRT file, under both models."""
    estimates = (
        ("energy_horowitz_uj", ArtifactFormat.LITERT_FLOAT32, horowitz(cost.macs, cost.memory_bytes), _HOROWITZ),
        ("energy_horowitz_uj", ArtifactFormat.LITERT_FLOAT16, horowitz(cost.macs, cost.memory_bytes), _HOROWITZ),
        ("energy_horowitz_uj", ArtifactFormat.LITERT_INT8, horowitz(cost.macs, cost.memory_bytes, int8=True), _HOROWITZ),
        ("energy_paper_uj", None, paper(cost.macs, cost.memory_bytes), _PAPER),
    )
    return tuple(
        Measurement(name, energy.total, "µJ", method, _ESTIMATED_FOR, kind) for name, kind, energy, method in estimates
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


def tflm_figures(file: bytes, arena: Arena, test: Split, reference: NDArray[np.float32]) -> tuple[Measurement, ...]:
    """Measures the file that a C++ source holds on TensorFlow Lite Micro, in exactly the arena that the source declares.

    Args:
        file: The int8 file as read back from the source.
        arena: The arena that was found for it.
        test: The test split; its reference kernels are slow, so of a larger one `TFLM_IMAGES` are drawn, always the same.
        reference: Outputs of the Keras model on the test split.
    """
    method = "TensorFlow Lite Micro's reference kernels"
    if len(test) > TFLM_IMAGES:
        rows = np.random.default_rng(_TFLM_SEED).choice(len(test), TFLM_IMAGES, replace=False)
        test, reference = Split(test.pixels[rows], test.labels[rows]), reference[rows]
        method += " on a fixed draw"
    outputs = outputs_on_tflm(file, test.images, arena_bytes=arena.smallest)
    return comparison(outputs, ArtifactFormat.TFLM_SOURCE, test, reference, method=method)


def figure_of(measurements: tuple[Measurement, ...], name: str, kind: ArtifactFormat | None = None) -> float:
    """Returns the value of the measurement with that name and format. Raises StopIteration if there is none."""
    return next(item.value for item in measurements if (item.name, item.format) == (name, kind))


def peak_resident_bytes(file: bytes, images: NDArray[np.float32]) -> int:
    """Returns the peak memory of a process that does nothing but run `file` on `images` with LiteRT."""
    return _probe(file, images, []).peak_bytes


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
    cores = f"{_cores()} cores" if _cores() > 1 else "1 core"
    return ", ".join([platform.machine(), cores, *([model[1]] if model else [])])


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _probe(file: bytes, images: NDArray[np.float32], operators: Sequence[bytes]) -> Probe:
    with tempfile.TemporaryDirectory() as folder:
        model_path, images_path = Path(folder, "model.tflite"), Path(folder, "images.npy")
        operator_paths = [Path(folder, f"operator{number}.tflite") for number in range(len(operators))]
        for path, data in zip((model_path, *operator_paths), (file, *operators), strict=True):
            path.write_bytes(data)
        np.save(images_path, images)
        done = subprocess.run(  # noqa: S603 -- our own module on our own files
            [sys.executable, "-m", "secateur.workers.engine.probe", *map(str, (model_path, images_path, *operator_paths))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | _ONE_THREAD,
            check=True,
            timeout=_PROBE_SECONDS,
        )
    return from_data(Probe, json.loads(done.stdout))
