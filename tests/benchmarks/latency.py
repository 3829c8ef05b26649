"""How well a device profile that was calibrated on measured runs predicts the latency of networks that it has not seen.

`python -m tests.benchmarks.latency` measures the int8 files of networks on LiteRT, one thread, on this machine, and fits two
models to the times. The roofline of device profiles has three coefficients: MACs per second, bytes per second and seconds per
operator. The linear model adds up what convolutions, depthwise convolutions and dense layers take per MAC, all take per byte
and per operator (non-negative least squares). Both are fitted to relative errors. Each network is predicted twice by a model
that was fitted without it: without it alone, and without its whole family.

Prints the table and how to add the calibrated profile, and writes docs/results/latency.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from secateur.core import devices
from secateur.core.cost import cost_of, predict_latency_ms
from secateur.core.cost.litert import lower
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, plan
from secateur.workers.engine.build import build_model
from secateur.workers.engine.export import export_untrained
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.measure import machine
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/latency.json"
SHAPE, CLASSES = (32, 32, 3), 10
NETWORKS: Final = {
    "vgg11": (1.0, 0.25),
    "vgg16": (0.5, 0.1),
    "alexnet": (1.0, 0.3),
    "resnet20": (1.0, 0.5),
    "resnet32": (1.0,),
    "resnet56": (1.0, 0.4),
    "mobilenetv2": (1.0, 0.3),
    "mobilenetv2_x0_5": (1.0,),
}
"""What is left of the FLOPs of each."""
ROUNDS: Final = 60
FASTEST: Final = 1e12
"""Rates are not looked for above this. Bandwidth gets there where no operator waits for memory: then times do not tell it."""
START: Final = replace(
    devices.get("raspberrypi4"), id="host", macs_per_second=2e10, bytes_per_second=2e10, seconds_per_operator=1e-6
)


@dataclass(frozen=True)
class Run:
    """A network and the latency that was measured of it, in milliseconds."""

    name: str
    family: str
    graph: LayerGraph
    measured: float

    def features(self) -> list[float]:
        """MACs of convolutions, of depthwise ones and of dense layers, bytes, operators."""
        macs = {"conv": 0.0, "depthwise": 0.0, "dense": 0.0}
        work = cost_of(self.graph).work
        for operator, each in zip(lower(self.graph), work, strict=True):
            op = self.graph[operator.layers[0]].op
            macs["depthwise" if "Depthwise" in op else "dense" if op == "Dense" else "conv"] += each.macs
        return [*macs.values(), sum(each.moved_bytes for each in work), sum(each.operators for each in work)]


Model = Callable[[Run], float]
"""Predicts a latency, in milliseconds."""


def runs() -> list[Run]:
    """Measures all networks in turn, so that disturbances hit all alike; of each the smallest time counts."""
    graphs = {}
    for name, fractions in NETWORKS.items():
        whole = zoo.build(name, SHAPE, CLASSES)
        for fraction in fractions:
            pruned = whole if fraction == 1 else plan(whole, Budget.fractions(flops=fraction)).apply(whole)
            graphs[f"{name} at {fraction:.0%} FLOPs"] = pruned
    loaded = {}
    for label, graph in graphs.items():
        keras.utils.clear_session()
        loaded[label] = LiteRt(export_untrained(build_model(graph), np.zeros((1, *SHAPE), np.float32)))
    best = dict.fromkeys(graphs, float("inf"))
    for _ in range(ROUNDS):
        for label, runner in loaded.items():
            runner.time_ns()  # warms the caches, which the others have used
            best[label] = min(best[label], runner.time_ns() / 1e6)
    return [Run(label, label.split()[0].rstrip("0123456789_x"), graph, best[label]) for label, graph in graphs.items()]


def roofline(known: Sequence[Run]) -> Model:
    profile = calibrated(known)
    return lambda run: predict_latency_ms(cost_of(run.graph).work, profile)


def calibrated(known: Sequence[Run]) -> devices.DeviceProfile:
    """Returns the profile whose roofline is closest to the measured times, in relative terms."""
    work = [(cost_of(run.graph).work, run.measured) for run in known]

    def profile(logs: NDArray[np.float64]) -> devices.DeviceProfile:
        macs, moved, overhead = (float(value) for value in np.exp(logs))
        return replace(START, macs_per_second=macs, bytes_per_second=moved, seconds_per_operator=overhead)

    def errors(logs: NDArray[np.float64]) -> list[float]:
        return [predict_latency_ms(each, profile(logs)) / measured - 1 for each, measured in work]

    start = np.log([START.macs_per_second, START.bytes_per_second, START.seconds_per_operator])
    bounds = np.log([(1e6, FASTEST), (1e6, FASTEST), (1e-9, 1e-3)]).T
    return profile(least_squares(errors, start, bounds=bounds, diff_step=1e-3).x)


def linear(known: Sequence[Run]) -> Model:
    features = np.array([run.features() for run in known])
    scale = np.maximum(features.max(axis=0), 1)
    weights = nnls(features / scale / np.array([[run.measured] for run in known]), np.ones(len(known)))[0] / scale
    return lambda run: float(np.dot(run.features(), weights))


def main() -> None:
    measured = runs()
    rows: list[dict[str, Any]] = []
    for run in measured:
        row: dict[str, Any] = {"network": run.name, "measured_ms": run.measured}
        for name, fit in (("roofline", roofline), ("linear", linear)):
            alone = fit([other for other in measured if other is not run])
            family = fit([other for other in measured if other.family != run.family])
            row[name] = {"without_it_ms": alone(run), "without_its_family_ms": family(run)}
        rows.append(row)
        cells = "  ".join(f"{row[name][key]:8.3f}" for name in ("roofline", "linear") for key in row[name])
        print(f"{run.name:32} {run.measured:8.3f} ms  predicted {cells}", flush=True)
    errors = {
        name: {key: float(np.mean([abs(row[name][key] / row["measured_ms"] - 1) for row in rows])) for key in rows[0][name]}
        for name in ("roofline", "linear")
    }
    for name, found in errors.items():
        print(
            f"{name:9} mean error "
            + ", ".join(f"{key.removesuffix('_ms').replace('_', ' ')} {value:.1%}" for key, value in found.items())
        )
    host = calibrated(measured)
    rates = {
        "macs_per_second": host.macs_per_second,
        "bytes_per_second": host.bytes_per_second,
        "seconds_per_operator": host.seconds_per_operator,
    }
    print(
        f"secateur profiles add this-machine ... --runtime litert --macs {host.macs_per_second / 1e6:.0f}M "
        f"--bandwidth {host.bytes_per_second / 1e6:.0f}MB --overhead {1e6 * host.seconds_per_operator:.2f}us"
    )
    how = f"smallest of {ROUNDS} runs on LiteRT, 1 thread, int8; all networks in turn"
    RESULTS.write_text(
        json.dumps({"machine": machine(), "method": how, "mape": errors, "calibrated": rates, "networks": rows}, indent=2)
        + "\n"
    )


if __name__ == "__main__":
    main()
