"""Every network of the keras.applications families: read, counted, planned to half, rebuilt and run.

    python -m tests.benchmarks.applications [NAME ...] [--resource flops]

Prints a table; exits with 1 if any figure is off.
"""

from __future__ import annotations

import argparse
import sys
import time

import keras
import numpy as np

from secateur.core.cost import cost_of
from secateur.core.errors import SecateurError
from secateur.core.graph import channel_groups, read_keras_json
from tests.support.applications import SMALLEST, application, macs_in_keras, rebuild_at_half


def check(name: str, resources: list[str]) -> bool:
    """Prints one row; returns whether every figure was right."""
    model = application(name)
    text, parameters, macs = model.to_json(), model.count_params(), macs_in_keras(model)
    start = time.perf_counter()
    graph = read_keras_json(text)
    seconds = time.perf_counter() - start
    cost, groups = cost_of(graph), channel_groups(graph)
    right = cost.parameters == parameters and cost.macs == macs
    cells = [
        f"{name:18}", f"{len(graph):5}", f"{cost.parameters:12,}", "=" if cost.parameters == parameters else "NOT",
        f"{cost.macs / 1e6:10,.1f} M", "=" if cost.macs == macs else "NOT", f"{1000 * seconds:6.0f} ms",
        f"{sum(group.prunable for group in groups):4}/{len(groups)}",
    ]  # fmt: skip
    for resource in resources:
        start = time.perf_counter()
        try:
            rebuilt = rebuild_at_half(graph, resource)
        except SecateurError as error:
            cells.append(f"{resource}: {error.reason} {error.metadata}")
            right = False
            continue
        good = rebuilt.predicted == rebuilt.counted and bool(np.isfinite(rebuilt.output).all())
        right &= good
        cells.append(f"{resource} {rebuilt.kept:.4f} {'=' if good else 'NOT'} {time.perf_counter() - start:5.1f} s")
    print("  ".join(cells), flush=True)
    keras.backend.clear_session()
    return right


def main() -> int:
    """Runs the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SMALLEST))
    parser.add_argument("--resource", action="append", choices=["parameters", "flops"])
    options = parser.parse_args()
    results = [check(name, options.resource or ["parameters", "flops"]) for name in options.names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
