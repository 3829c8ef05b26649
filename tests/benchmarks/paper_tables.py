"""The tables of the papers, on real data: every row trained, exported, measured, and scored once on the test split.

`python -m tests.benchmarks.paper_tables --table T [--seeds N] [--recipe R] [--epochs E] [--images N] [--test-images N]
[--only TEXT ...] [--folder DIR] [--backend jax] [--accuracy-only]` runs the rows of a table (see `paper_cells`) that
docs/results/tables/T.json does not have yet under the same settings, and goes on inside a training that was cut off.
T is 1 to 6, `equal` or `tradeoff`.
`--images` trains on so many images, a stratified draw, and `--test-images` scores on as many; the result says so.
`--folder` holds cifar10.npz and the like; without it Keras downloads them. Seed s decides plan, initialisation, validation
split and order. With the JAX backend, and if asked for accuracy only, nothing is exported: those columns stay empty.

Writes the rows as JSON, a table as Markdown with mean and spread over the seeds, and for `tradeoff` a figure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.paper_cells import TABLES, Cell
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/tables"
CACHE = Path(tempfile.gettempdir()) / "secateur-paper-tables"
"""Checkpoints and subsets; what is lost there is made again."""
RESOURCES = ("parameters", "flops", "latency_ms", "energy_horowitz_uj", "processor_ms", "process_peak_bytes")
"""What accuracy is drawn against."""


@dataclass(frozen=True)
class Settings:
    """What all rows of a run share."""

    recipe: str
    epochs: int | None
    images: int | None
    test_images: int | None
    folder: Path | None
    accuracy_only: bool

    @property
    def told(self) -> dict[str, Any]:
        """What decides the result, as the rows keep it."""
        return {"recipe": self.recipe, "epochs": self.epochs, "images": self.images, "test_images": self.test_images}


class Runner:
    """Runs cells.

    Args:
        settings: What they share.
    """

    def __init__(self, settings: Settings) -> None:
        # Keras chooses its backend when it is imported, so only now.
        from secateur.store.blobs import BlobStore

        self._settings = settings
        self._blobs = BlobStore((CACHE / "blobs").as_uri())
        self._subsets: dict[str, str] = {}

    def run(self, cell: Cell, seed: int) -> dict[str, Any]:
        """Trains and measures one cell."""
        from secateur.core import datasets, recipes
        from secateur.core.graph import zoo
        from secateur.core.specs import JobSpec, Target
        from secateur.store.checkpoints import CheckpointStore
        from secateur.workers.engine.datasets import DatasetSources

        dataset = datasets.get(cell.dataset)
        if self._settings.images is not None:  # which decides how large batches are
            dataset = replace(dataset, train_images=self._settings.images)
        graph = zoo.build(cell.network, dataset.input_shape, dataset.classes)
        recipe = recipes.resolve(self._settings.recipe, dataset, epochs=self._settings.epochs)
        spec = JobSpec(graph.digest, self._dataset(cell.dataset), (Target(budget=cell.budget),), recipe, cell.policy, seed)
        checkpoints = CheckpointStore((CACHE / "blobs").as_uri(), "tables")
        sources = DatasetSources(self._settings.folder, lambda digest: CACHE / "blobs/sha256" / digest[:2] / digest[2:])
        measured = _in_keras if self._settings.accuracy_only else _on_devices
        return measured(graph, spec, checkpoints, sources)

    def _dataset(self, name: str) -> str:
        """Returns what the spec calls the data set: its name, or the content of the part of it that is asked for."""
        settings = self._settings
        if settings.images is None and settings.test_images is None:
            return name
        if name not in self._subsets:
            self._subsets[name] = f"sha256:{self._blobs.put(self._subset(name))}"
        return self._subsets[name]

    def _subset(self, name: str) -> bytes:
        from io import BytesIO

        import numpy as np
        from sklearn.model_selection import train_test_split

        from secateur.workers.engine.datasets import DatasetSources, load

        whole = load(name, seed=0, validation_fraction=0.01, sources=DatasetSources(self._settings.folder))
        arrays: dict[str, Any] = {}
        parts = (("train", whole.train, self._settings.images), ("test", whole.test, self._settings.test_images))
        for part, split, count in parts:
            rows = np.arange(len(split))
            if count is not None:
                rows, _ = train_test_split(rows, train_size=count, stratify=split.labels, random_state=0)
            arrays |= {f"x_{part}": split.pixels[rows], f"y_{part}": split.labels[rows].astype(np.uint8)}
        file = BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()


def _on_devices(graph: Any, spec: Any, checkpoints: Any, sources: Any) -> dict[str, Any]:
    """Everything that a job measures."""
    from secateur.core.errors import Infeasible
    from secateur.core.reports import ArtifactFormat
    from secateur.workers.engine.measure import figure_of
    from secateur.workers.engine.pipeline import run_target

    report = run_target(
        graph,
        spec,
        0,
        put=lambda data: hashlib.sha256(data).hexdigest(),
        checkpoints=checkpoints,
        sources=sources,
    )
    if report.plan is None or not report.artifacts:
        raise Infeasible("BUDGET_INFEASIBLE", report.message)
    int8, float32 = ArtifactFormat.LITERT_INT8, ArtifactFormat.LITERT_FLOAT32
    measurements = report.measurements
    return {
        **_of_plan(report.plan),
        "accuracy": figure_of(measurements, "accuracy", float32),
        "int8_accuracy": figure_of(measurements, "accuracy", int8),
        "validation_accuracy": figure_of(measurements, "validation_accuracy"),
        "training_s": figure_of(measurements, "training_s"),
        **{name: figure_of(measurements, name, int8) for name in (*RESOURCES[2:], "flash_bytes", "load_ms")},
    }


def _in_keras(graph: Any, spec: Any, checkpoints: Any, sources: Any) -> dict[str, Any]:
    """What needs no export: plans, trainings and the accuracy of the network itself."""
    import numpy as np

    from secateur.core.planning import effective_budget
    from secateur.core.specs import PlanMode
    from secateur.workers.engine.datasets import load_for
    from secateur.workers.engine.hybrid import Hybrid
    from secateur.workers.engine.iterative import Iterative
    from secateur.workers.engine.proposals import Planned, Source, Task

    task = Task(graph, spec, 0, load_for(graph, spec, sources), checkpoints)
    source: Source = Planned(task)
    if spec.policy.mode is PlanMode.HYBRID:
        source = Iterative(task) if spec.policy.hybrid.rounds > 1 else Hybrid(task)
    elif spec.policy.search:
        raise NotImplementedError("A search measures exports; leave it out with --only")
    proposal = source.propose(effective_budget(graph, spec.targets[0]))
    training = task.train(proposal.model, proposal.recipe, start=proposal.plan.digest)
    outputs = np.asarray(proposal.model.predict(task.data.test.images, verbose=0))
    return {
        **_of_plan(proposal.plan),
        "accuracy": float((outputs.argmax(axis=1) == task.data.test.labels).mean()),
        "validation_accuracy": training.best.accuracy,
        "training_s": training.seconds,
    }


def _of_plan(plan: Any) -> dict[str, Any]:
    cost = plan.cost
    return {"parameters": cost.parameters, "flops": cost.flops, "memory_bytes": cost.memory_bytes, "plan": plan.digest[:16]}


def run_table(name: str, settings: Settings, seeds: int, only: list[str]) -> None:
    """Runs what is missing of a table and writes it after every row."""
    import keras

    from secateur.core.errors import Infeasible
    from secateur.workers.engine.measure import machine

    path = RESULTS / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    backend = f"{keras.backend.backend()}, keras {keras.__version__}"
    runner = Runner(settings)
    for seed in range(seeds):
        for cell in TABLES[name].cells:
            key = {"network": cell.network, "dataset": cell.dataset, "how": cell.label, "asked": cell.asked, "seed": seed}
            key |= settings.told | {"backend": backend}
            if not all(text in f"{cell.network} {cell.dataset} {cell.label} {cell.asked}" for text in only):
                continue
            if any(key.items() <= row.items() for row in rows):
                continue
            print(f"{cell.network}, {cell.dataset}, {cell.label}, {cell.asked}, seed {seed}", flush=True)
            try:
                rows.append({**key, **runner.run(cell, seed), "machine": machine()})
            except Infeasible as error:  # stock networks, and residual streams, are only so small
                print(f"    {error}", flush=True)
                continue
            print(f"    accuracy {rows[-1]['accuracy']:.4f}, {rows[-1]['training_s']:.0f} s of training", flush=True)
            command = " ".join(["python -m tests.benchmarks.paper_tables", *sys.argv[1:]])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"title": TABLES[name].title, "last_command": command, "rows": rows}, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(markdown(TABLES[name].title, rows))
    if name == "tradeoff":
        draw(rows, RESULTS / "tradeoff.svg")


def grouped(rows: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Returns the rows that differ in their seed alone, together."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        settings = tuple(row[name] for name in ("recipe", "epochs", "images", "test_images", "backend", "machine"))
        found.setdefault((row["network"], row["dataset"], row["asked"], row["how"], *settings), []).append(row)
    return found


def markdown(title: str, rows: list[dict[str, Any]]) -> str:
    """Returns a table as text: mean and spread over the seeds, the best of every budget first."""
    lines = [f"# {title}", ""]
    sections: dict[tuple[Any, ...], list[tuple[str, list[dict[str, Any]]]]] = {}
    for key, same in grouped(rows).items():
        network, dataset, asked, how, *settings = key
        sections.setdefault((network, dataset, asked, *settings), []).append((how, same))
    for (network, dataset, asked, recipe, epochs, images, test_images, backend, machine), entries in sections.items():
        size = f"{images:,} training images" if images else "all training images"
        scored = f"the first {test_images:,} of a stratified draw of the test split" if test_images else "the whole test split"
        lines += [
            f"## {network} on {dataset}, {asked}",
            "",
            f"Recipe {recipe}, {epochs or 'its own'} epochs, {size}, scored once on {scored}. {backend}; {machine}.",
            "",
            "| how | seeds | accuracy, % | int8, % | parameters | MFLOPs | training, s | latency, ms |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for how, same in sorted(entries, key=lambda entry: -_mean(entry[1], "accuracy")):
            seeds = ", ".join(str(row["seed"]) for row in same)
            figures = (
                _spread(same, "accuracy", 100, 2),
                _spread(same, "int8_accuracy", 100, 2),
                _spread(same, "parameters", 1, 0),
                _spread(same, "flops", 1e-6, 2),
                _spread(same, "training_s", 1, 0),
                _spread(same, "latency_ms", 1, 2),
            )
            lines.append(f"| {how} | {seeds} | " + " | ".join(figures) + " |")
        lines.append("")
    return "\n".join(lines)


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return statistics.fmean(row[name] for row in rows)


def _spread(rows: list[dict[str, Any]], name: str, factor: float, digits: int) -> str:
    values = [factor * row[name] for row in rows if name in row]
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):,.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):,.{digits}f}{deviation}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws accuracy against every resource, one line per way of pruning."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows if all(name in row for name in RESOURCES)]
    figure, axes = plt.subplots(2, 3, figsize=(12, 7.5), sharey=True, layout="constrained")
    for axis, resource in zip(axes.flat, RESOURCES, strict=True):
        title, factor = _AXES[resource]
        for how in dict.fromkeys(row["how"] for row in rows):
            points = sorted(
                (factor * _mean(same, resource), 100 * _mean(same, "accuracy"))
                for key, same in grouped(rows).items()
                if key[3] == how
            )
            axis.plot(*zip(*points, strict=True), marker="o", label=how)
        axis.ticklabel_format(useOffset=False)
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy, %")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(axes.flat[0].lines))
    figure.savefig(path, metadata={"Date": None})


_AXES = {
    "parameters": ("parameters, thousands", 1e-3),
    "flops": ("MFLOPs", 1e-6),
    "latency_ms": ("latency, int8 on LiteRT, ms", 1),
    "energy_horowitz_uj": ("energy (horowitz, int8), µJ", 1),
    "processor_ms": ("processor time of 100 images, int8, ms", 1),
    "process_peak_bytes": ("peak resident memory, int8, MiB", 2**-20),
}
"""What the axes say, and what a figure is multiplied by for it."""


def main() -> None:
    """Reads the command line and runs a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, choices=TABLES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images", type=int)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--only", nargs="*", default=[], help="Run rows that have all of these texts somewhere.")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    parser.add_argument("--accuracy-only", action="store_true", help="Export and measure nothing; implied by the JAX backend.")
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = given.backend
    accuracy_only = given.accuracy_only or given.backend != "tensorflow"
    settings = Settings(given.recipe, given.epochs, given.images, given.test_images, given.folder, accuracy_only)
    run_table(given.table, settings, given.seeds, given.only)


if __name__ == "__main__":
    main()
