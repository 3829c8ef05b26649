"""What quantising to int8 costs in accuracy, and how well its sizes are predicted.

`python -m tests.benchmarks.quantisation --cifar10 FILE.npz [--images N] [--epochs E]` does two things.

Sizes: VGG-16, ResNet-20 and MobileNetV2 on 32x32x3 are pruned to 25 % of their FLOPs and exported; the bytes of the int8 file
and the smallest arena in which TensorFlow Lite Micro starts it are held against the plan's prediction. Targets: 3 % and 10 %.

Accuracy: ResNet-20 at 25 % FLOPs is trained on CIFAR-10 by the recipe "fast", on a subset and briefly, as two cores allow; the
accuracy of every file is that on the whole test split. Target: int8 at most 1.0 point below float32. FILE holds the arrays
x_train, y_train, x_test and y_test of keras.datasets. Without it, only sizes are measured.

Prints tables and writes docs/results/quantisation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from sklearn.model_selection import train_test_split

from secateur.core import datasets, recipes
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, plan
from secateur.core.reports import ArtifactFormat, Progress
from secateur.core.specs import JobSpec, Target
from secateur.workers.engine.datasets import Data, DatasetSources, Split, load
from secateur.workers.engine.delivery import files_of, measure, quantize
from secateur.workers.engine.export import REPRESENTATIVE_IMAGES, export
from secateur.workers.engine.measure import figure_of, machine
from secateur.workers.engine.proposals import Task
from secateur.workers.engine.tflm import measure_arena
from tests.support.exported import sizes_of
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/quantisation.json"
CIFAR = datasets.get("cifar10")
QUARTER = Budget.fractions(flops=0.25)
NETWORKS = ("vgg16", "resnet20", "mobilenetv2")
SEEDS = (0, 1, 2)
FLASH_TARGET, ARENA_TARGET, LOSS_TARGET = 0.03, 0.10, 1.0


def network(name: str) -> LayerGraph:
    return zoo.build(name, CIFAR.input_shape, CIFAR.classes)


def sizes() -> list[dict[str, Any]]:
    rows = []
    for name in NETWORKS:
        for seed in SEEDS:
            chosen = plan(network(name), QUARTER, seed=seed)
            found = sizes_of(chosen.apply(network(name)))
            assert found.arena is not None
            row = {
                "network": name,
                "seed": seed,
                "flash": found.int8,
                "flash_error": chosen.cost.flash_bytes / found.int8 - 1,
                "arena": found.arena,
                "arena_error": chosen.cost.ram_bytes / found.arena - 1,
            }
            rows.append(row)
            flash, arena = (f"{row[what]:9,} {row[f'{what}_error']:+7.2%}" for what in ("flash", "arena"))
            print(f"{name:12} seed {seed}  flash {flash}  arena {arena}", flush=True)
    return rows


def subset(data: Data, images: int, seed: int) -> Data:
    """Keeps some training images, of all classes alike; the test split stays whole."""

    def part(split: Split, count: int) -> Split:
        if count >= len(split):
            return split
        rows, _ = train_test_split(range(len(split)), train_size=count, stratify=split.labels, random_state=seed)
        return Split(split.pixels[rows], split.labels[rows])

    return Data(part(data.train, images), part(data.validation, max(images // 9, 1_000)), data.test)


def shown(progress: Progress) -> None:
    print(f"epoch {progress.epoch} of {progress.epochs}, step {progress.step}: loss {progress.loss:.3f}", flush=True)


def accuracy(file: Path, images: int, epochs: int) -> dict[str, Any]:
    graph = network("resnet20")
    recipe = recipes.resolve("fast", CIFAR, epochs=epochs)
    chosen = plan(graph, QUARTER)
    folder = DatasetSources(file.parent)
    data = subset(load("cifar10", seed=0, validation_fraction=recipe.validation_fraction, sources=folder), images, 0)
    task = Task(graph, JobSpec(graph.digest, "cifar10", (Target(budget=QUARTER),), recipe), 0, data, on_progress=shown)
    model = task.fresh(chosen)
    start = time.perf_counter()
    training = task.train(model, recipe, start=chosen.digest)
    print(f"trained in {time.perf_counter() - start:.0f} s, validation {training.best.accuracy:.4f}", flush=True)
    exported = export(model, data.train.first(REPRESENTATIVE_IMAGES))
    quantized = quantize(task, chosen, model, exported.files[ArtifactFormat.LITERT_INT8], recipe)
    arena = measure_arena(quantized.file)
    files = files_of(model, exported, quantized, arena)
    figures, _ = measure(files, model, chosen, arena, data.test)
    rows: list[dict[str, Any]] = []
    for kind, content in files.by_format().items():
        names = ("accuracy", "keras_agreement", "keras_max_difference", "keras_mean_difference")
        rows.append({"format": kind.value, "bytes": len(content)} | {name: figure_of(figures, name, kind) for name in names})
        print(f"{kind.value:15} {len(content):9,} B  accuracy {rows[-1]['accuracy']:.4f}", flush=True)
    by_format = {row["format"]: row["accuracy"] for row in rows}
    loss = 100 * (by_format[ArtifactFormat.LITERT_FLOAT32.value] - by_format[ArtifactFormat.LITERT_INT8.value])
    return {
        "network": "resnet20",
        "flops_left": QUARTER.limits[0].fraction,
        "training_images": len(data.train),
        "of_training_images": CIFAR.train_images,
        "test_images": len(data.test),
        "epochs": epochs,
        "validation_accuracy": training.best.accuracy,
        "files": rows,
        "int8_loss_points": loss,
        "int8_loss_on_validation_points": figure_of(figures, "int8_loss_points", ArtifactFormat.LITERT_INT8),
        "fine_tuned_for_int8": bool(quantized.note),
        "note": quantized.note,
        "met": loss <= LOSS_TARGET,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="decoded set; its name is cifar10.npz")
    parser.add_argument("--images", type=int, default=6_000, help="training images of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    rows = sizes()
    worst = {what: max(abs(row[f"{what}_error"]) for row in rows) for what in ("flash", "arena")}
    print(f"flash error at most {worst['flash']:.2%}, arena error at most {worst['arena']:.2%}", flush=True)
    results: dict[str, Any] = {
        "machine": machine(),
        "sizes": rows,
        "largest_errors": worst,
        "sizes_met": worst["flash"] <= FLASH_TARGET and worst["arena"] <= ARENA_TARGET,
    }
    if arguments.cifar10:
        results["accuracy"] = accuracy(arguments.cifar10, arguments.images, arguments.epochs)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
