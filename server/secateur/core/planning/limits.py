"""Limits that a plan has to keep, held against a workbench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secateur.core.cost import Cost
from secateur.core.devices import DeviceProfile
from secateur.core.planning.bench import Bench
from secateur.core.planning.budgets import predicted
from secateur.core.resources import Budget, Resource


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits in absolute values, and the class of hardware that latency and RAM are about."""

    asked: Mapping[Resource, float]
    profile: DeviceProfile | None

    @classmethod
    def of(cls, budget: Budget, profile: DeviceProfile | None) -> Limits:
        """Returns what an absolute budget limits from above; a floor on accuracy is left to training."""
        return cls({resource: value for resource, value in budget.asked().items() if not resource.is_floor}, profile)

    @property
    def only(self) -> Resource | None:
        """The resource that is limited, if there is but one."""
        return next(iter(self.asked)) if len(self.asked) == 1 else None

    def figures(self, cost: Cost) -> dict[Resource, float]:
        """Returns what a network of that cost has of everything that is limited."""
        figures = predicted(cost, self.profile)
        return {resource: figures[resource] for resource in self.asked}

    def allow(self, figures: Mapping[Resource, float]) -> bool:
        """Whether every limit holds for these figures."""
        return all(figures[resource] <= asked for resource, asked in self.asked.items())

    def excess(self, bench: Bench) -> dict[Resource, float]:
        """Returns by how much of its limit every limit is exceeded at present; those that hold are left out."""
        found = {}
        for resource, asked in self.asked.items():
            value = bench.value(resource, self.profile)
            if value > asked:
                found[resource] = value / asked - 1
        return found

    def hold(self, bench: Bench) -> bool:
        """Whether every limit holds at present."""
        slowest = self.asked.get(Resource.RAM_BYTES)  # an arena is laid out tensor by tensor, so it is asked for last
        return all(
            bench.value(resource, self.profile) <= asked
            for resource, asked in self.asked.items()
            if resource is not Resource.RAM_BYTES
        ) and (slowest is None or bench.value(Resource.RAM_BYTES, self.profile) <= slowest)
