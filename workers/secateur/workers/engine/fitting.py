"""Finds a plan whose *exported* network keeps every limit, before anything is trained.

The sizes of a network do not depend on the values of its weights, so an untrained export, two seconds of work, decides what
would else come to light after the training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import keras

from secateur.core.cost import Cost
from secateur.core.devices import DeviceProfile, Runtime
from secateur.core.graph import LayerGraph
from secateur.core.planning import BudgetInfeasible, Plan, Planner, WidthRule, predicted, tighten
from secateur.core.reports import ArtifactFormat, Measurement
from secateur.core.resources import Budget, Compliance, Resource
from secateur.core.specs import PlanPolicy
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Split
from secateur.workers.engine.export import export_untrained
from secateur.workers.engine.measure import peak_resident_bytes
from secateur.workers.engine.tflm import Arena, measure_arena

MAX_TIGHTENINGS: Final = 3
"""How often a plan is made again because a measurement missed a limit that the prediction kept."""

_MEASURED: Final = frozenset({Resource.FLASH_BYTES, Resource.RAM_BYTES})
"""Resources whose prediction a measurement can correct."""
_COUNTED: Final = "counted from the layer graph"
_METHODS: Final = {
    Resource.FLASH_BYTES: "bytes of the int8 file",
    Resource.LATENCY_MS: "predicted: roofline of the profile",
    Resource.ACCURACY: "int8 file on the test split",
}
_RAM_METHODS: Final = {
    Runtime.TFLM: "smallest arena in which TensorFlow Lite Micro starts the int8 file",
    Runtime.LITERT: "peak resident memory of a process that runs the int8 file on LiteRT",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an int8 file takes.

    Args:
        flash_bytes: Its length.
        ram_bytes: Working memory on the runtime of the target.
        arena: Working memory on TensorFlow Lite Micro.
    """

    flash_bytes: int
    ram_bytes: int
    arena: Arena


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan, its network and what its untrained export takes.

    Args:
        plan: The plan.
        model: Its network with fresh weights.
        compliance: Every limit but accuracy.
        plans_tried: Plans made so far, this one included.
        is_smallest: Whether no plan keeps the budget, so that this one is at the smallest reachable value of what binds.
    """

    plan: Plan
    model: keras.Model
    compliance: tuple[Compliance, ...]
    plans_tried: int
    is_smallest: bool

    @property
    def fits(self) -> bool:
        """Whether every limit but accuracy holds."""
        return all(limit.met for limit in self.compliance)


class Fitting:
    """The search for a plan that fits one target.

    Args:
        graph: The unpruned network.
        asked: Absolute limits of the target.
        policy: How to plan.
        profile: Device class of the target; None for none, which is treated as a micro-controller.
        seed: Seed of planner and weights.
        train: The training split, which calibrates the export.
    """

    def __init__(
        self, graph: LayerGraph, asked: Budget, policy: PlanPolicy, profile: DeviceProfile | None, seed: int, train: Split
    ) -> None:
        self._graph = graph
        self._asked = asked
        self._budget = asked
        self._policy = policy
        self._profile = profile
        self._seed = seed
        self._train = train
        self._planner = Planner(graph, WidthRule(policy.step, policy.round_to, policy.min_width), profile)
        self._plans_tried = 0

    @property
    def unpruned_cost(self) -> Cost:
        """Predicted cost of the unpruned network."""
        return self._planner.unpruned.cost

    def next(self) -> Candidate:
        """Returns the first plan whose untrained export fits; if none is found, the nearest point, which does not fit."""
        while True:
            plan, is_smallest = self._plan()
            keras.utils.clear_session()
            keras.utils.set_random_seed(self._seed)
            model = build_model(self._graph, plan)
            sizes = self.sizes_of(export_untrained(model, self._train.images))
            candidate = Candidate(plan, model, self.compliance(plan, sizes), self._plans_tried, is_smallest)
            if candidate.fits or is_smallest or not self.tighten(plan, candidate.compliance):
                return candidate

    def tighten(self, plan: Plan, compliance: tuple[Compliance, ...]) -> bool:
        """Makes the next plan allow for what was measured of this one.

        Args:
            plan: A plan of this search.
            compliance: What was measured of it; at least one limit is missed.

        Returns:
            False if that cannot help, because the limit missed is none that is measured, or was tried often enough.
        """
        expected = predicted(plan.cost, self._profile)
        missed = [limit for limit in compliance if not limit.met]
        if self._plans_tried > MAX_TIGHTENINGS or any(limit.resource not in _MEASURED for limit in missed):
            return False
        for limit in missed:
            self._budget = tighten(
                self._budget,
                limit.resource,
                asked=limit.asked,
                predicted=expected[limit.resource],
                measured=limit.achieved,
            )
        return True

    def sizes_of(self, file: bytes) -> Sizes:
        """Measures what an int8 file takes."""
        arena = measure_arena(file)
        ram = arena.smallest if self._runtime is Runtime.TFLM else peak_resident_bytes(file, self._train.images[:1])
        return Sizes(len(file), ram, arena)

    def compliance(self, plan: Plan, sizes: Sizes, accuracy: float | None = None) -> tuple[Compliance, ...]:
        """Holds every limit against what was reached; a floor on accuracy only where there is an accuracy."""
        reached = predicted(plan.cost, self._profile)
        reached[Resource.FLASH_BYTES] = sizes.flash_bytes
        reached[Resource.RAM_BYTES] = sizes.ram_bytes
        if accuracy is not None:
            reached[Resource.ACCURACY] = accuracy
        methods = {**_METHODS, Resource.RAM_BYTES: _RAM_METHODS[self._runtime]}
        return tuple(
            Compliance(limit.resource, asked, reached[limit.resource], methods.get(limit.resource, _COUNTED), limit.origin)
            for limit, asked in zip(self._asked.limits, self._asked.asked().values(), strict=True)
            if limit.resource in reached
        )

    def latency_figures(self, plan: Plan) -> tuple[Measurement, ...]:
        """Returns the latency that is predicted for the device class of the target, if it has one."""
        if self._profile is None:
            return ()
        latency = predicted(plan.cost, self._profile)[Resource.LATENCY_MS]
        method = f"{_METHODS[Resource.LATENCY_MS]} ({self._profile.source})"
        return (Measurement("device_latency_ms", latency, "ms", method, self._profile.title, ArtifactFormat.LITERT_INT8),)

    @property
    def _runtime(self) -> Runtime:
        return self._profile.runtime if self._profile else Runtime.TFLM

    def _plan(self) -> tuple[Plan, bool]:
        """Returns the next plan, and whether it is the nearest to a budget that no plan keeps."""
        self._plans_tried += 1
        try:
            return self._planner.plan(self._budget, self._policy.mode, self._seed), False
        except BudgetInfeasible as refusal:
            return refusal.nearest, True
