"""Whether scores of untrained networks tell which pruned network gets best.

    python -m tests.benchmarks.proxies [NETWORK ...] [--cifar10 FILE] [--candidates N] [--epochs E] [--seeds S] ...

Draws candidates of half the FLOPs of two networks as a search does, scores them untrained, trains every one under several
seeds, and correlates (Spearman) scores and accuracies on the validation split. Beside the proxies stand what costs nothing,
the numbers of parameters and of multiply-accumulates, and what no proxy can beat for long: how well the accuracies under one
seed tell those under another. Prints its tables and writes docs/results/proxies.json after every network; networks that are
not named keep their last result there.

FILE is an .npz of CIFAR-10 as Keras decodes it (x_train, y_train). Only its training images are read: part of them for
training, part for validation, at half the resolution. Without it, the digits are used; their test split is not looked at.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.core import recipes
from secateur.core.graph import LayerGraph, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.graph.ir import Shape
from secateur.core.planning import Budget, Candidate, draw_candidates, ranks
from secateur.core.specs import PlanMode, PlanPolicy, Recipe, SearchPolicy
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Data, Split, load
from secateur.workers.engine.measure import machine
from secateur.workers.engine.proxies import proxy_scores
from secateur.workers.engine.train import train
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/proxies.json"
HALF: Final = Budget.fractions(flops=0.5)
PERMUTATIONS: Final = 10_000

Row = dict[str, Any]


def small_vgg(shape: Shape, classes: int) -> LayerGraph:
    """Three pairs of convolutions of 32, 64 and 128 channels."""
    net = Builder("small_vgg", shape)
    for block, filters in enumerate((32, 64, 128), start=1):
        for number in (1, 2):
            name = f"block{block}_conv{number}"
            net.add("Conv2D", name, filters=filters, kernel_size=3, padding="same", use_bias=False)
            net.add("BatchNormalization", f"{name}_bn")
            net.add("ReLU", f"{name}_relu")
        net.add("MaxPooling2D", f"block{block}_pool", padding="same")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=classes)
    return net.build()


NETWORKS: Final[dict[str, Callable[[Shape, int], LayerGraph]]] = {
    "resnet20": lambda shape, classes: zoo.build("resnet20", shape, classes),
    "small_vgg": small_vgg,
}


def cifar10(path: Path, training: int, validation: int) -> Data:
    """Reads CIFAR-10 at 16x16. The test split of what is returned is empty."""
    with np.load(path) as file:
        images, labels = file["x_train"], file["y_train"].reshape(-1).astype(np.int64)
    rows = np.random.default_rng(0).permutation(len(labels))[: training + validation]
    halved = images[rows].reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    whole = Split(halved, labels[rows])
    return Data(_part(whole, slice(training)), _part(whole, slice(training, None)), _part(whole, slice(0)))


def _part(split: Split, rows: slice) -> Split:
    return Split(split.pixels[rows], split.labels[rows])


def row_of(candidate: Candidate, graph: LayerGraph, data: Data, recipe: Recipe, seeds: int) -> Row:
    """Scores a candidate as a search with seed 0 does, and trains it under every seed."""
    scores: dict[str, float] = {}
    accuracies = []
    for seed in range(seeds):
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        model = build_model(graph, candidate.plan)
        scores = scores or proxy_scores(model, data.train)
        accuracies.append(train(model, data, recipe, seed=seed).best.accuracy)
    cost = candidate.plan.cost
    return {
        "origin": candidate.origin,
        "parameters": cost.parameters,
        "macs": cost.macs,
        **scores,
        "accuracies": accuracies,
    }


def correlations(rows: Sequence[Row]) -> dict[str, Row]:
    """Returns what each score is worth: its correlation with the mean accuracy, how likely chance does as well, its choice."""
    proxies = ("synflow", "zico", "naswot")
    mean_rank = ranks([{name: row[name] for name in proxies} for row in rows])
    scores: dict[str, list[float]] = {name: [row[name] for row in rows] for name in (*proxies, "parameters", "macs")}
    scores["mean rank of the proxies"] = [-rank for rank in mean_rank]
    accuracies = [statistics.fmean(row["accuracies"]) for row in rows]
    found = {}
    for name, values in scores.items():
        of = spearman(values, accuracies)
        chosen = max(range(len(rows)), key=values.__getitem__)
        found[name] = {"spearman": of, "p": chance(values, accuracies, of), "accuracy_of_its_choice": accuracies[chosen]}
    return found


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the correlation of the ranks; 0 where one side has no order."""
    columns = ranked(one), ranked(other)
    return float(np.corrcoef(*columns)[0, 1]) if all(np.ptp(column) for column in columns) else 0.0


def chance(one: Sequence[float], other: Sequence[float], found: float) -> float:
    """Returns the share of random orders that correlate at least as strongly, in either direction."""
    columns = [ranked(values) - ranked(values).mean() for values in (one, other)]
    orders = np.random.default_rng(0).permuted(np.tile(columns[1], (PERMUTATIONS, 1)), axis=1)
    reached = np.abs(orders @ columns[0]) / (np.linalg.norm(columns[0]) * np.linalg.norm(columns[1]) or 1.0)
    return float((reached >= abs(found) - 1e-9).mean())


def ranked(values: Sequence[float]) -> NDArray[np.float64]:
    """Returns ranks as a search ranks; equal values share the mean of theirs."""
    return np.asarray(ranks([{"": value} for value in values]))


def seeds_agree(rows: Sequence[Row]) -> float | None:
    """Returns the correlation of the accuracies under the first two seeds."""
    columns = list(zip(*(row["accuracies"] for row in rows), strict=True))
    return spearman(*columns[:2]) if len(columns) > 1 else None


def examine(graph: LayerGraph, data: Data, recipe: Recipe, candidates: int, seeds: int) -> Row:
    """Trains the candidates of one network and tells what their scores are worth."""
    policy = PlanPolicy(PlanMode.FLOPS, search=SearchPolicy(candidates))
    rows = []
    for candidate in draw_candidates(graph, HALF, policy):
        if not candidate.missed:
            start = time.perf_counter()
            rows.append(row_of(candidate, graph, data, recipe, seeds))
            shown = "  ".join(f"{accuracy:.4f}" for accuracy in rows[-1]["accuracies"])
            print(f"  {len(rows):2}  {shown}  {time.perf_counter() - start:4.0f} s  {candidate.origin}", flush=True)
    accuracies = [statistics.fmean(row["accuracies"]) for row in rows]
    return {
        "scores": correlations(rows),
        "seeds_agree": seeds_agree(rows),
        "accuracy": {
            "best": max(accuracies),
            "mean": statistics.fmean(accuracies),
            "uniform": next(reached for row, reached in zip(rows, accuracies, strict=True) if row["origin"] == "uniform"),
        },
        "candidates": rows,
    }


def show(found: Row) -> None:
    accuracy = found["accuracy"]
    agreement = math.nan if found["seeds_agree"] is None else found["seeds_agree"]
    print(
        f"{len(found['candidates'])} candidates: best {accuracy['best']:.4f}, mean {accuracy['mean']:.4f}, "
        f"uniform {accuracy['uniform']:.4f}; one seed tells another with {agreement:+.2f}"
    )
    for score, worth in found["scores"].items():
        choice = f"its choice reaches {worth['accuracy_of_its_choice']:.4f}"
        print(f"  {score:25} Spearman {worth['spearman']:+.2f}  p {worth['p']:.3f}  {choice}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=f"of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--cifar10", type=Path, metavar="FILE", help="use CIFAR-10 instead of the digits")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=5_000, help="training images of CIFAR-10")
    parser.add_argument("--validation-images", type=int, default=3_000, help="validation images of CIFAR-10")
    arguments = parser.parse_args()
    recipe = recipes.resolve(epochs=arguments.epochs)
    if arguments.cifar10:
        data = cifar10(arguments.cifar10, arguments.images, arguments.validation_images)
    else:
        data = load("digits", seed=0, validation_fraction=0.25)
    images = "CIFAR-10 at 16x16" if arguments.cifar10 else "digits at 8x8"
    reduced = (
        f"{images}, {len(data.train)} training and {len(data.validation)} validation images, {recipe.epochs} epochs, "
        f"{arguments.seeds} seeds; no test image is looked at"
    )
    about = {
        "command": " ".join(["python -m tests.benchmarks.proxies", *sys.argv[1:]]).replace(str(arguments.cifar10), "FILE"),
        "machine": machine(),
        "reduced": reduced,
        "seeds": list(range(arguments.seeds)),
    }
    shape, classes = data.train.pixels.shape[1:], int(data.train.labels.max()) + 1
    results: Row = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.networks:
        print(f"{name}, reduced: {reduced}", flush=True)
        found = examine(NETWORKS[name](shape, classes), data, recipe, arguments.candidates, arguments.seeds)
        show(found)
        results[name] = about | found
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
