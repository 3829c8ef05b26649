"""How long plans take, beside Torch-Pruning, and how long what they plan takes on LiteRT.

`python -m tests.benchmarks.planning [--skip-torch] [--skip-latency]` times plans, quotes and searches; has
Torch-Pruning prune the same networks to the same FLOPs with random importance, in an environment of its own that is made on
the first run; and measures the LiteRT latency of plans of half the FLOPs. Prints tables and writes docs/results/planning.json.

Times of planning and pruning are CPU times, which other work on the machine changes least; everything runs in one thread, so
on an idle machine they are the wall times. Ours are the smallest of several runs; Torch-Pruning runs once. What is skipped
keeps its last result in the file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, Planner, Quoter, WidthRule, draw_candidates, plan
from secateur.core.specs import PlanMode, PlanPolicy, SearchPolicy, Target
from secateur.workers.engine.build import build_model
from secateur.workers.engine.export import export
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.measure import machine
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/planning.json"
TORCH = Path(__file__).with_name("torch_pruning_run.py")
REQUIREMENTS = ("torch==2.13.0", "torch-pruning==1.6.1")
LITERAL_FRACTION = 0.1033
HALF = Budget.fractions(flops=0.5)
DEVICE = Budget.fractions(flops=0.6, flash_bytes=0.6, ram_bytes=0.95)
RUNS = 25
CANDIDATES = 1_000
LATENCY_ROUNDS = 60


def best_of(work: Callable[[], object], runs: int = RUNS) -> float:
    """Smallest CPU time of several runs, in seconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def network(name: str) -> LayerGraph:
    return zoo.build(name, (32, 32, 3), 10)


def literal_vgg16() -> object:
    return plan(network_vgg16, Budget.fractions(flops=LITERAL_FRACTION), mode="flops", literal=True)


network_vgg16, network_resnet56 = network("vgg16"), network("resnet56")


def planning_times() -> list[dict[str, Any]]:
    """Times what issue 3 sets a limit to."""
    resnet50 = network("resnet50")
    targets = [Target(budget=Budget.fractions(flops=fraction)) for fraction in (0.75, 0.5, 0.25, 0.1)]

    def quote() -> None:
        quoter = Quoter(resnet50, PlanPolicy())
        answers = [quoter.quote(target) for target in targets]
        assert all(answer.feasible for answer in answers)
        quoter.curve()

    def hybrid_quote() -> None:
        quoter = Quoter(network_resnet56, PlanPolicy(PlanMode.HYBRID))
        assert all(quoter.quote(target).feasible for target in targets)
        quoter.curve()

    planner = Planner(network_resnet56, WidthRule())
    seeds = itertools.count()  # asked for the same plan again, a planner would follow the path that it knows
    rows = [
        ("VGG-16 to 10.33 % FLOPs, literal", best_of(literal_vgg16), 0.010),
        ("ResNet-50 quote: 4 targets (75, 50, 25, 10 % FLOPs) and the budget curve", best_of(quote), 0.050),
        ("ResNet-56 quote of mode hybrid: the same targets and curve", best_of(hybrid_quote, 5), None),
        ("1,000 ResNet-56 candidates to 50 % FLOPs", best_of(lambda: drawn(HALF, PlanMode.FLOPS), 3), 2.0),
        (
            "1,000 ResNet-56 candidates to 60 % FLOPs, 60 % flash and 95 % RAM",
            best_of(lambda: drawn(DEVICE, PlanMode.DEVICE), 1),
            None,
        ),
        ("ResNet-56 to 50 % FLOPs, one plan", best_of(lambda: planner.plan(HALF, PlanMode.DEVICE, next(seeds))), None),
    ]
    return [{"what": what, "seconds": seconds, "limit_s": limit} for what, seconds, limit in rows]


def drawn(budget: Budget, mode: PlanMode) -> None:
    """Plans, costs and filters candidates of ResNet-56 as a search does."""
    found = draw_candidates(network_resnet56, budget, PlanPolicy(mode, search=SearchPolicy(CANDIDATES)))
    assert len(found) == CANDIDATES
    assert any(candidate.plan.dropped for candidate in found)


def torch_pruning(environment: Path) -> list[dict[str, Any]]:
    """Has Torch-Pruning do the same, and compares."""
    python = environment / "bin/python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)  # also after one that was cut off
    ours = {
        "vgg16": best_of(literal_vgg16),
        "resnet56": best_of(lambda: plan(network_resnet56, HALF)),
    }
    targets = {"vgg16": LITERAL_FRACTION, "resnet56": 0.5}
    done = subprocess.run([python, TORCH, json.dumps(targets)], check=True, stdout=subprocess.PIPE)
    rows = json.loads(done.stdout)
    return [{**row, "ours_s": ours[row["network"]], "ratio": row["seconds"] / ours[row["network"]]} for row in rows]


def latencies() -> list[dict[str, Any]]:
    """Measures plans of half the FLOPs on LiteRT, one thread, all networks in turn so that disturbances hit all alike."""
    images = np.random.default_rng(0).random((100, 32, 32, 3), np.float32)
    runs: dict[tuple[str, str, str], tuple[LiteRt, Any]] = {}
    flops: dict[tuple[str, str], float] = {}
    for name in ("vgg16", "resnet56", "mobilenetv2"):
        graph = network(name)
        plans = {"unpruned": None, "round_to 1": plan(graph, HALF), "round_to 8": plan(graph, HALF, round_to=8)}
        for which, chosen in plans.items():
            flops[name, which] = chosen.cost.flops / Planner(graph, WidthRule()).unpruned.cost.flops if chosen else 1.0
            for kind, file in export(build_model(graph, chosen), images).files.items():
                runner = LiteRt(file)
                runs[name, which, kind.value] = (runner, runner.encode(images[:1]))
    samples: dict[tuple[str, str, str], list[float]] = {key: [] for key in runs}
    for _ in range(LATENCY_ROUNDS):
        for key, (runner, image) in runs.items():
            runner.invoke(image)  # warms the caches, which the others have used
            start = time.perf_counter()
            runner.invoke(image)
            samples[key].append(1e3 * (time.perf_counter() - start))
    median = {key: statistics.median(values) for key, values in samples.items()}
    return [
        {
            "network": name,
            "plan": which,
            "format": kind,
            "flops_share": flops[name, which],
            "latency_ms": value,
            "latency_share": value / median[name, "unpruned", kind],
        }
        for (name, which, kind), value in median.items()
    ]


def show(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skip-torch", action="store_true", help="do not run Torch-Pruning")
    parser.add_argument("--skip-latency", action="store_true", help="do not measure on LiteRT")
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir(), "secateur-torch-pruning"))
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found |= {
        "command": " ".join(["python -m tests.benchmarks.planning", *sys.argv[1:]]),
        "machine": machine(),
        "planning": planning_times(),
    }
    show("Planning (smallest of several runs)", found["planning"])
    if not arguments.skip_torch:
        found["torch_pruning"] = torch_pruning(arguments.environment)
        show(f"{REQUIREMENTS[1]}, random importance, and the same FLOPs planned by us", found["torch_pruning"])
    if not arguments.skip_latency:
        found["latency"] = latencies()
        show("LiteRT, 1 thread, median: plans of half the FLOPs", found["latency"])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
