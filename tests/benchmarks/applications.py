"""Every network of the keras.applications families: read, counted, planned to half, rebuilt and run.

    python -m tests.benchmarks.applications [NAME[:CLASSES] ...] [--again]

Prints a table and writes docs/results/applications.json after every network. Networks that are in that file are not run
again unless told so, so that a run that was cut off can go on. Exits with 1 if any figure is off.

Multiply-accumulates are counted twice beside ours: from the weights and output shapes of the Keras layers, and by TensorFlow's
own profiler on the traced graph (convolutions and matrix products, two operations each).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph, Residual, channel_groups, read_keras_json
from secateur.core.planning import BudgetInfeasible
from secateur.core.serial import from_data, to_data
from tests.support.applications import SMALLEST, application, macs_in_keras, rebuild_at_half
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/applications.json"
RESOURCES: Final = ("parameters", "flops")
TOLERANCE: Final = 0.005
_MULTIPLYING: Final = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


@dataclass(frozen=True)
class Half:
    """A plan of half of one resource, rebuilt and run.

    Args:
        resource: What was halved.
        residual: What the plan did to the streams of residual networks; "coupled" where half cannot be reached without.
        kept: Share of the resource that is left; 0 if half cannot be reached, and then `failure` says why.
        predicted: Parameters that the plan predicts.
        counted: Parameters that Keras counts.
        planning_s: Processor time of the plan in seconds.
        finite: Whether a forward pass returned finite numbers of the right shape.
        failure: Why there is no plan; empty if there is one.
    """

    resource: str
    residual: Residual
    kept: float
    predicted: int
    counted: int
    planning_s: float
    finite: bool
    failure: str = ""

    @property
    def right(self) -> bool:
        """Whether everything is as it has to be."""
        return not self.failure and self.kept <= 0.5 and self.predicted == self.counted and self.finite

    def __str__(self) -> str:
        found = self.failure or f"{self.kept:.4f} {self.residual} {self.planning_s:.2f} s"
        return f"{self.resource} {found}{'' if self.right else ' NOT'}"


@dataclass(frozen=True)
class Row:
    """What was found for one network.

    Args:
        name: Its name in keras.applications.
        side: Rows and columns of its input.
        classes: Classes that it tells apart.
        layers: Layers that were read.
        reading_s: Processor time of reading its JSON, in seconds.
        parameters: By our cost model.
        parameters_keras: By `count_params()`.
        macs: By our cost model.
        macs_keras: From the weights and shapes of the Keras layers.
        macs_tensorflow: By TensorFlow's profiler.
        groups: Channel groups, residual streams counted.
        prunable: Those that can be cut.
        halves: Plans.
    """

    name: str
    side: int
    classes: int
    layers: int
    reading_s: float
    parameters: int
    parameters_keras: int
    macs: int
    macs_keras: int
    macs_tensorflow: int
    groups: int
    prunable: int
    halves: tuple[Half, ...] = ()

    @property
    def macs_off(self) -> float:
        """Largest relative deviation of our multiply-accumulates from the other two counts."""
        return max(abs(self.macs / counted - 1) for counted in (self.macs_keras, self.macs_tensorflow))

    @property
    def right(self) -> bool:
        """Whether everything is as it has to be."""
        return (
            self.parameters == self.parameters_keras
            and self.macs_off <= TOLERANCE
            and bool(self.halves)
            and all(half.right for half in self.halves)
        )

    def __str__(self) -> str:
        cells = [
            f"{self.name:18}", f"{self.classes:5}", f"{self.layers:5} layers", f"{1e3 * self.reading_s:5.0f} ms",
            f"{self.parameters:12,}", "=" if self.parameters == self.parameters_keras else "NOT",
            f"{self.macs / 1e6:9,.1f} M MACs, off {self.macs_off:.2%}", f"{self.prunable:4}/{self.groups} groups",
        ]  # fmt: skip
        return "  ".join([*cells, *map(str, self.halves)])


def examine(name: str, classes: int) -> Row:
    """Reads, counts, halves, rebuilds and runs one network."""
    model = application(name, classes=classes)
    text = model.to_json()
    start = time.process_time()
    graph = read_keras_json(text)
    seconds = time.process_time() - start
    cost, groups = cost_of(graph), channel_groups(graph, residual=Residual.COUPLED)
    row = Row(
        name, SMALLEST[name], classes, len(graph), seconds, cost.parameters, model.count_params(), cost.macs,
        macs_in_keras(model), macs_in_tensorflow(model), len(groups), sum(group.prunable for group in groups),
    )  # fmt: skip
    del model
    keras.backend.clear_session()  # the pruned one has room of its own
    return replace(row, halves=tuple(half(graph, resource) for resource in RESOURCES))


def half(graph: LayerGraph, resource: str) -> Half:
    """Plans to half of a resource, rebuilds and runs."""
    try:
        rebuilt = rebuild_at_half(graph, resource)
    except BudgetInfeasible as error:
        return Half(resource, Residual.COUPLED, 0.0, 0, 0, 0.0, False, error.message)
    finally:
        keras.backend.clear_session()
    finite = rebuilt.output.shape == (1, graph.classes) and bool(np.isfinite(rebuilt.output).all())
    return Half(resource, rebuilt.residual, rebuilt.kept, rebuilt.predicted, rebuilt.counted, rebuilt.planning_s, finite)


def macs_in_tensorflow(model: keras.Model) -> int:
    """Counts multiply-accumulates with TensorFlow's profiler."""
    call = tf.function(lambda image: model(image, training=False))
    frozen = convert_variables_to_constants_v2(call.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]))))
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    found: Any = profiler.profile(frozen.graph, cmd="op", options=options)
    operations = 0
    while found.children:  # one kind of operation at a time, each the child of the one before
        (found,) = found.children
        operations += found.float_ops if found.name in _MULTIPLYING else 0
    return operations // 2


def main() -> int:
    """Runs what is missing, and prints the table."""
    wanted = [f"{name}:10" for name in SMALLEST] + ["NASNetMobile:1000", "NASNetLarge:1000"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=wanted, metavar="NAME[:CLASSES]", help="default: all, with 10 classes")
    parser.add_argument("--again", action="store_true", help="also run what is in the results")
    options = parser.parse_args()
    tf.get_logger().setLevel("ERROR")
    stored = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    rows = {(row.name, row.classes): row for row in from_data(list[Row], stored)}
    right = True
    for network in options.networks:
        name, _, classes = network.partition(":")
        key = (name, int(classes or 10))
        if options.again or key not in rows:
            rows[key] = examine(*key)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(
                json.dumps({"command": "python -m tests.benchmarks.applications", "rows": to_data([*rows.values()])}, indent=2)
                + "\n"
            )
        print(rows[key], flush=True)
        right &= rows[key].right
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
