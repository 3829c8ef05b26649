"""A trained network as the files that are delivered, and what was measured of every one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.core.errors import FailedPrecondition
from secateur.core.jobs import JobStage
from secateur.core.planning import Plan
from secateur.core.reports import ArtifactFormat, Measurement, OperatorProfile
from secateur.core.specs import Recipe
from secateur.workers.engine.c_source import read_c_source, write_c_source
from secateur.workers.engine.datasets import Split
from secateur.workers.engine.export import REPRESENTATIVE_IMAGES, Exported, export_int8
from secateur.workers.engine.keras_files import outputs_of, read_keras, write_keras
from secateur.workers.engine.litert import classify_on_litert
from secateur.workers.engine.measure import (
    arena_figures,
    comparison,
    energy_figures,
    machine,
    measure_file,
    tflm_figures,
)
from secateur.workers.engine.proposals import Task
from secateur.workers.engine.qat import fake_quantized, recipe_for
from secateur.workers.engine.tflm import Arena

MAX_INT8_LOSS: Final = 1.0
"""Points of validation accuracy that int8 may cost before the network is fine-tuned for it."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """The int8 file that is delivered.

    Args:
        file: Its bytes.
        measurements: What int8 costs, on the validation split.
        note: What was done about it, for people; empty where nothing had to be.
    """

    file: bytes
    measurements: tuple[Measurement, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Files:
    """Everything that is delivered of a network.

    Args:
        exported: The LiteRT files as they were converted.
        quantized: The int8 file that takes the place of the converted one.
        source: The int8 file as C++ source.
        keras: The model itself.
    """

    exported: Exported
    quantized: Quantized
    source: bytes
    keras: bytes

    def by_format(self) -> Mapping[ArtifactFormat, bytes]:
        """Returns all files."""
        return {
            **self.litert(),
            ArtifactFormat.TFLM_SOURCE: self.source,
            ArtifactFormat.KERAS: self.keras,
        }

    def litert(self) -> Mapping[ArtifactFormat, bytes]:
        """Returns the LiteRT files."""
        return {**self.exported.files, ArtifactFormat.LITERT_INT8: self.quantized.file}


def quantize(task: Task, plan: Plan, model: keras.Model, converted: bytes, recipe: Recipe) -> Quantized:
    """Returns the int8 file to deliver: the converted one, or one of the network fine-tuned for int8 if that is better.

    Which is better is decided on the validation split. The model is left as it is.

    Args:
        task: The target.
        plan: Plan of the network.
        model: The trained network.
        converted: Its int8 file.
        recipe: How it was trained.
    """
    validation = task.data.validation
    expected = outputs_of(model, validation.images).argmax(axis=1)
    first = _Loss.of(converted, expected, validation)
    if not first.is_too_much:
        return Quantized(converted, (first.measurement("int8_loss_points"),), "")
    cost = f"Conversion to int8 cost {first.points:.1f} points of validation accuracy"
    task.on_stage(JobStage.TRAINING, f"{cost}: fine-tuning with rounded weights and feature maps")
    tuned = _fine_tuned(task, plan, model, recipe)
    second = _Loss.of(tuned, expected, validation) if tuned else None
    before = first.measurement("int8_loss_as_converted_points")
    if tuned and second and second.points < first.points:
        still = ", which is still much" if second.is_too_much else ""
        note = f"{cost}; fine-tuned for int8, the file loses {second.points:.1f}{still}."
        return Quantized(tuned, (second.measurement("int8_loss_points"), before), note)
    found = f"did not help ({second.points:.1f} points)" if second else "diverged"
    note = f"{cost}. Fine-tuning for int8 {found}, so the file as converted is delivered."
    return Quantized(converted, (first.measurement("int8_loss_points"), before), note)


def _fine_tuned(task: Task, plan: Plan, model: keras.Model, recipe: Recipe) -> bytes | None:
    """Returns the int8 file of the network fine-tuned for int8; None if that diverges. The model is left as it is."""
    trained = model.get_weights()
    rounded = fake_quantized(model, plan.apply(task.graph))
    try:
        task.train(rounded, recipe_for(recipe), start=f"{plan.digest} fine-tuned for int8", reported=False)
        return export_int8(model, task.data.train.first(REPRESENTATIVE_IMAGES))
    except FailedPrecondition:
        return None
    finally:
        model.set_weights(trained)


def files_of(model: keras.Model, exported: Exported, quantized: Quantized, arena: Arena) -> Files:
    """Returns all files of a network.

    Args:
        model: The trained network.
        exported: Its LiteRT files.
        quantized: The int8 file to deliver.
        arena: What that file needs on TensorFlow Lite Micro.
    """
    return Files(exported, quantized, write_c_source(quantized.file, arena.smallest), write_keras(model))


def measure(
    files: Files, model: keras.Model, plan: Plan, arena: Arena, test: Split
) -> tuple[tuple[Measurement, ...], tuple[OperatorProfile, ...]]:
    """Measures every file on this machine, and compares it with the network that it was made of.

    Args:
        files: The files.
        model: The trained network.
        plan: Its plan.
        arena: What the int8 file needs on TensorFlow Lite Micro.
        test: The test split.

    Returns:
        All figures, and where the time of every LiteRT file goes.
    """
    reference = outputs_of(model, test.images)
    measured = [measure_file(file, kind, test, reference, files.exported.layer_of) for kind, file in files.litert().items()]
    return (
        *(figure for each in measured for figure in each.figures),
        *arena_figures(arena),
        *tflm_figures(read_c_source(files.source), arena, test, reference),
        *_keras_figures(files.keras, test, reference),
        *files.quantized.measurements,
        *energy_figures(plan.cost),
    ), tuple(each.operators for each in measured)


def _keras_figures(file: bytes, test: Split, reference: NDArray[np.float32]) -> tuple[Measurement, ...]:
    size = Measurement("flash_bytes", len(file), "bytes", "bytes of the file", machine(), ArtifactFormat.KERAS)
    outputs = outputs_of(read_keras(file), test.images)
    return size, *comparison(outputs, ArtifactFormat.KERAS, test, reference, method=f"Keras on {keras.backend.backend()}")


@dataclass(frozen=True, slots=True)
class _Loss:
    """What int8 costs on the validation split.

    Args:
        points: Accuracy of the network less that of the file, in points.
        error: Standard error of that difference, from the images on which one of the two is right: of 140 images, a single one
            is 0.7 points.
        images: Images of the split.
    """

    points: float
    error: float
    images: int

    @classmethod
    def of(cls, file: bytes, expected: NDArray[np.int64], validation: Split) -> _Loss:
        found = classify_on_litert(file, validation.images)
        change = (expected == validation.labels).astype(int) - (found == validation.labels).astype(int)
        points = 100 / len(change)
        return cls(points * int(change.sum()), points * math.sqrt(int(np.abs(change).sum())), len(change))

    @property
    def is_too_much(self) -> bool:
        return self.points - self.error > MAX_INT8_LOSS

    def measurement(self, name: str) -> Measurement:
        method = (
            f"accuracy of the Keras model less that of the int8 file on LiteRT, {self.images} images of the validation split"
        )
        return Measurement(name, self.points, "points", method, machine(), ArtifactFormat.LITERT_INT8)
