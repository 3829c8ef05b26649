"""What our training loop costs: epochs of `train` beside those of a bare `model.fit` of the same network, in the same run.

`python -m tests.benchmarks.training [--images N] [--rounds R]` trains each network on drawn images of the size of CIFAR-10,
three ways in turn: by bare `model.fit` on float32 arrays with Keras's own SGD; by `train` with the same work to do (no
augmentation, no averaging of weights) and a checkpoint after every epoch; and by `train` with the recipe "fast" as a CIFAR-10
job gets it. Each round compiles anew and its first epoch is not counted. Times are processor times of all threads, user and
system: other work on the machine changes them least. Target: bare / ours >= 0.95 for the same work. Run it
with KERAS_BACKEND=jax for the other backend. Prints the table and writes docs/results/training-{backend}.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from secateur.core import datasets, recipes
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, plan
from secateur.core.specs import Recipe
from secateur.workers.engine.build import build_model
from secateur.workers.engine.checkpoints import Checkpoint
from secateur.workers.engine.datasets import Data, Split
from secateur.workers.engine.measure import machine
from secateur.workers.engine.train import train
from tests.support.stack import ROOT

EPOCHS = 3
TARGET = 0.95
CIFAR = datasets.get("cifar10")


def networks() -> dict[str, LayerGraph]:
    """A residual network, a plain one and one of depthwise convolutions, the last two pruned so that they fit the time."""
    whole = {name: zoo.build(name, CIFAR.input_shape, CIFAR.classes) for name in ("resnet20", "vgg16", "mobilenetv2")}
    tenth = Budget.fractions(flops=0.1)
    pruned = {f"{name} at 10 % FLOPs": plan(whole[name], tenth).apply(whole[name]) for name in ("vgg16", "mobilenetv2")}
    return {"resnet20": whole["resnet20"], **pruned}


def drawn(images: int) -> Data:
    """Images and labels that say nothing: how long a step takes does not depend on them."""
    draw = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(draw.integers(0, 256, (count, *CIFAR.input_shape), np.uint8), draw.integers(0, CIFAR.classes, count))

    return Data(split(images), split(images // 10), split(0))


def bare(graph: LayerGraph, data: Data, recipe: Recipe) -> list[float]:
    """Seconds of every epoch of `model.fit`."""
    model = build_model(graph)
    model.compile(
        optimizer=keras.optimizers.SGD(recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",
    )
    clock = Clock()
    hot = np.eye(CIFAR.classes, dtype=np.float32)
    model.fit(
        data.train.images,
        hot[data.train.labels],
        batch_size=recipe.batch_size,
        epochs=EPOCHS,
        validation_data=(data.validation.images, hot[data.validation.labels]),
        validation_batch_size=256,
        callbacks=[clock],
        verbose=0,
    )
    return clock.seconds


class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Times epochs, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.process_time() - self._began)


def ours(graph: LayerGraph, data: Data, recipe: Recipe) -> list[float]:
    """Seconds of every epoch of `train`, from the end of one to the end of the next: with its checkpoint."""
    ends = [time.process_time()]

    def keep(checkpoint: Checkpoint) -> None:
        checkpoint.write()
        ends.append(time.process_time())

    train(build_model(graph), data, recipe, seed=0, on_checkpoint=keep)
    return [end - begin for begin, end in itertools.pairwise(ends)]


def measured(graph: LayerGraph, data: Data, rounds: int) -> dict[str, float]:
    """Returns the median seconds of an epoch, by way of training."""
    full = recipes.resolve("fast", CIFAR, epochs=EPOCHS, batch_size=128)
    same = replace(recipes.resolve("fast", epochs=EPOCHS, batch_size=128), average_epochs=0)
    ways: dict[str, Callable[[], list[float]]] = {
        "bare": lambda: bare(graph, data, same),
        "ours": lambda: ours(graph, data, same),
        "fast": lambda: ours(graph, data, full),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in sorted(ways, reverse=bool(number % 2)):
            keras.utils.clear_session()
            keras.utils.set_random_seed(0)
            seconds[way] += ways[way]()[1:]
    return {way: statistics.median(found) for way, found in seconds.items()}


def main() -> None:
    """Trains, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5_120)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    backend = keras.backend.backend()
    data, rows = drawn(arguments.images), []
    print(f"{'network':>24}  {'bare s':>7}  {'ours s':>7}  {'fast s':>7}  {'bare/ours':>9}  {'bare/fast':>9}")
    for name, graph in networks().items():
        found = measured(graph, data, arguments.rounds)
        row = {"network": name, **found, "bare/ours": found["bare"] / found["ours"], "bare/fast": found["bare"] / found["fast"]}
        rows.append(row)
        print(f"{name:>24}  " + "  ".join(f"{row[key]:>{width}.2f}" for key, width in _COLUMNS), flush=True)
    result = {
        "command": " ".join(["python -m tests.benchmarks.training", *sys.argv[1:]]),
        "backend": f"{backend}, keras {keras.__version__}",
        "machine": machine(),
        "images": arguments.images,
        "target": f"bare/ours >= {TARGET}",
        "rows": rows,
    }
    path = ROOT / f"docs/results/training-{backend}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


_COLUMNS = (("bare", 7), ("ours", 7), ("fast", 7), ("bare/ours", 9), ("bare/fast", 9))

if __name__ == "__main__":
    main()
