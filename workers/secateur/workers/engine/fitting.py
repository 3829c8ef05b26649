"""Finds a plan whose *exported* network keeps every limit, before anything is trained.

The sizes of a network do not depend on the values of its weights, so an untrained export, two seconds of work, decides what
would else come to light after the training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import keras

from secateur.core.devices import Runtime
from secateur.core.planning import BudgetInfeasible, Plan, predicted, tighten
from secateur.core.reports import ArtifactFormat, Attempt, Measurement, Tightening
from secateur.core.resources import Budget, Compliance, Resource
from secateur.workers.engine.export import export_untrained
from secateur.workers.engine.measure import peak_resident_bytes
from secateur.workers.engine.proposals import Proposal, Source, Task
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
    """A proposal and what its untrained export takes.

    Args:
        proposal: The proposal.
        compliance: Every limit but accuracy.
    """

    proposal: Proposal
    compliance: tuple[Compliance, ...]

    @property
    def fits(self) -> bool:
        """Whether every limit but accuracy holds."""
        return all(limit.met for limit in self.compliance)


class Fitting:
    """The way to a plan that fits one target.

    Args:
        task: The target. Without a device class it is treated as one of a micro-controller.
        asked: Its absolute limits.
    """

    def __init__(self, task: Task, asked: Budget) -> None:
        self._task = task
        self._asked = asked
        self._budget = asked
        self._profile = task.profile
        self._untrained: dict[str, Sizes] = {}
        self._attempts: list[Attempt] = []
        self._tightenings = 0

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every proposal made so far and how it came out."""
        return tuple(self._attempts)

    def next(self, source: Source) -> Candidate:
        """Returns the first proposal whose untrained export fits; if none does, the nearest point, which does not fit.

        Args:
            source: Where proposals come from. What measurements of another source's have shown is kept.
        """
        while True:
            proposal = self._proposal(source)
            compliance = self.untrained_compliance(proposal.plan, proposal.model)
            self._attempts.append(Attempt(proposal.plan.digest, trained=False, compliance=compliance))
            candidate = Candidate(proposal, compliance)
            if candidate.fits or proposal.is_smallest or not self.tighten(proposal.plan, compliance):
                return candidate

    def untrained_compliance(self, plan: Plan, model: keras.Model) -> tuple[Compliance, ...]:
        """Exports a network that is not trained yet and holds it against every limit but accuracy.

        Args:
            plan: Its plan.
            model: The network. A plan is exported once: its sizes do not depend on the weights.
        """
        if plan.digest not in self._untrained:
            self._untrained[plan.digest] = self.sizes_of(export_untrained(model, self._task.data.train.first(1)))
        return self.compliance(plan, self._untrained[plan.digest])

    def trained(self, compliance: tuple[Compliance, ...]) -> None:
        """Takes down what came of the last proposal now that it is trained."""
        self._attempts[-1] = replace(self._attempts[-1], trained=True, compliance=compliance)

    def tighten(self, plan: Plan, compliance: tuple[Compliance, ...]) -> bool:
        """Makes the next plan allow for what was measured of this one.

        Args:
            plan: The plan that was proposed last.
            compliance: What was measured of it; at least one limit is missed.

        Returns:
            False if that cannot help, because the limit missed is none that is measured, or was tried often enough.
        """
        expected = predicted(plan.cost, self._profile)
        missed = [limit for limit in compliance if not limit.met]
        if self._tightenings == MAX_TIGHTENINGS or any(limit.resource not in _MEASURED for limit in missed):
            return False
        self._tightenings += 1
        for limit in missed:
            self._budget = tighten(
                self._budget,
                limit.resource,
                asked=limit.asked,
                predicted=expected[limit.resource],
                measured=limit.achieved,
            )
        now = self._budget.asked()
        tightened = tuple(Tightening(limit.resource, now[limit.resource]) for limit in missed)
        self._attempts[-1] = replace(self._attempts[-1], tightened=tightened)
        return True

    def sizes_of(self, file: bytes) -> Sizes:
        """Measures what an int8 file takes."""
        arena = measure_arena(file)
        ram = arena.smallest if self._runtime is Runtime.TFLM else peak_resident_bytes(file, self._task.data.train.first(1))
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

    def _proposal(self, source: Source) -> Proposal:
        try:
            return source.propose(self._budget)
        except BudgetInfeasible as refusal:
            nearest = replace(refusal.nearest, indices={})  # whatever the source inherits, this is trained from scratch
            return Proposal(nearest, self._task.fresh(nearest), self._task.from_scratch(nearest), is_smallest=True)
