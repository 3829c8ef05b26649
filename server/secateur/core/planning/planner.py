"""The complexity-driven planner: seed A, Algorithm 1, made to keep several limits, floors and the budget itself.

Every step draws a group with a probability in proportion to what it holds of a resource and removes a share of its channels;
steps repeat until every limit holds (Zawish, Davy & Abraham, arXiv 2208.12816). Which channels go is not decided here.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from secateur.core.cost import CostModel
from secateur.core.devices import DeviceProfile
from secateur.core.errors import Infeasible
from secateur.core.graph import ChannelGroup, LayerGraph, channel_groups
from secateur.core.planning.budgets import absolute_budget
from secateur.core.planning.plan import Plan
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget, Resource
from secateur.core.specs import PlanMode

_T = TypeVar("_T")
_RESOURCE_OF_MODE: Final = {
    PlanMode.PARAMETERS: Resource.PARAMETERS,
    PlanMode.FLOPS: Resource.FLOPS,
    PlanMode.MEMORY: Resource.MEMORY_BYTES,
}


class BudgetInfeasible(Infeasible):
    """No plan keeps the budget, even with every group at its smallest width.

    Args:
        nearest: Plan with every group at its smallest width. Resources shrink with every width (the arena but for the odd gap
            in its greedy placement), so no other comes nearer.
        binding: Limit that is missed by most, relative to what was asked.
        asked: That limit.
        smallest_reachable: Per limited resource, its value with every group at its smallest width.
        layer: Layer that then takes most of the binding resource.
    """

    def __init__(
        self, nearest: Plan, binding: Resource, asked: float, smallest_reachable: Mapping[Resource, float], layer: str
    ) -> None:
        smallest = smallest_reachable[binding]
        super().__init__(
            "BUDGET_INFEASIBLE",
            f"No pruned network keeps {binding.value} at or below {asked:,.10g}: the smallest reachable value is "
            f"{smallest:,.10g}, most of it in layer {layer!r}. Raise this limit, or allow narrower layers.",
            field=binding.value,
            metadata={
                "binding_limit": binding.value,
                "asked": f"{asked:.10g}",
                "smallest_reachable": f"{smallest:.10g}",
                "layer": layer,
            },
        )
        self.nearest = nearest
        self.binding = binding
        self.smallest_reachable = dict(smallest_reachable)
        self.layer = layer


def plan(
    graph: LayerGraph,
    budget: Budget,
    *,
    mode: PlanMode | str = PlanMode.DEVICE,
    seed: int = 0,
    step: float = 0.1,
    round_to: int = 1,
    min_width: int = 4,
    profile: DeviceProfile | None = None,
    literal: bool = False,
) -> Plan:
    """Plans widths that keep every limit of a budget. The same arguments give the same plan.

    Modes "parameters", "flops" and "memory" draw groups by their share of that resource until all limits hold. Mode "device"
    first draws one of the limits not yet kept, in proportion to its relative excess, and then a group by its share of what is
    limited; with one limit it is the corresponding other mode.

    Args:
        graph: The unpruned network.
        budget: Limits, absolute or relative. A floor on accuracy is left to training.
        mode: Which resource decides where to cut.
        seed: Seed of all draws.
        step: Share of a group's present channels that one step removes, in (0, 1); the paper's k.
        round_to: Kept widths are multiples of this, or full.
        min_width: Smallest width of any group.
        profile: Class of hardware that latency limits are about.
        literal: Follow the paper: groups may shrink to one channel, `round_to` and `min_width` are not looked at, and the
            last step is not given back where it overshoots.

    Raises:
        BudgetInfeasible: If the limits cannot all be kept; it carries the nearest plan.
        InvalidArgument: LIMIT_NEEDS_PROFILE or POLICY_INVALID.
    """
    rule = WidthRule(step, 1, 1) if literal else WidthRule(step, round_to, min_width)
    return Planner(graph, rule, profile).plan(budget, PlanMode(mode), seed, land=not literal)


class Planner:
    """Plans one network under one width rule; what does not depend on the budget is worked out once.

    Args:
        graph: The unpruned network.
        rule: Allowed widths.
        profile: Class of hardware that latency limits are about.
    """

    def __init__(self, graph: LayerGraph, rule: WidthRule, profile: DeviceProfile | None = None) -> None:
        self._graph = graph
        self._rule = rule
        self._profile = profile
        self._groups: Sequence[ChannelGroup] = tuple(group for group in channel_groups(graph) if group.prunable)
        self._full = {group.name: group.width for group in self._groups}
        self._smallest = {name: rule.smallest(width) for name, width in self._full.items()}
        self._model = CostModel(graph, self._groups)
        self.unpruned: Plan = self._record(PlanMode.DEVICE, 0)
        """The plan that cuts nothing."""
        self._set(self._smallest)
        self.smallest: Plan = self._record(PlanMode.DEVICE, 0)
        """The plan with every group at its smallest width."""

    def plan(self, budget: Budget, mode: PlanMode, seed: int, *, land: bool = True) -> Plan:
        """Plans for one budget; see the function `plan`.

        Args:
            budget: Limits, absolute or relative.
            mode: Which resource decides where to cut.
            seed: Seed of all draws.
            land: Give back what the last cuts overshot.
        """
        absolute = absolute_budget(budget, self.unpruned.cost, self._profile)
        asked = {resource: value for resource, value in absolute.asked().items() if not resource.is_floor}
        self._set(self._smallest)
        reachable = {resource: self._value(resource) for resource in asked}
        missed = {
            resource: reachable[resource] / asked[resource] for resource in asked if reachable[resource] > asked[resource]
        }
        if missed:
            binding = max(missed, key=missed.__getitem__)
            layer = self._model.heaviest_layer(binding)
            raise BudgetInfeasible(self._record(mode, seed), binding, asked[binding], reachable, layer)
        return self._search(asked, mode, seed, land=land)

    def _search(self, asked: Mapping[Resource, float], mode: PlanMode, seed: int, *, land: bool) -> Plan:
        """Cuts until every limit holds. Terminates: with every group at its smallest width they do."""
        draw = random.Random(seed)  # noqa: S311  reproducible, not secret
        cut: dict[str, None] = {}  # groups in the order of their last cuts
        self._set(self._full)
        while excess := self._excess(asked):
            resource = _RESOURCE_OF_MODE.get(mode) or _drawn(draw, excess)
            group = _drawn(draw, self._loads(resource))
            cut.pop(group, None)
            cut[group] = None
            self._model.set_width(group, self._rule.narrower(self._model.widths[group], self._full[group]))
        if land:
            for group in reversed(cut):
                self._give_back(group, asked)
        return self._record(mode, seed)

    def _excess(self, asked: Mapping[Resource, float]) -> dict[Resource, float]:
        """Returns by how much of its limit every limit is exceeded; those that hold are left out."""
        values = {resource: self._value(resource) for resource in asked}
        return {resource: value / asked[resource] - 1 for resource, value in values.items() if value > asked[resource]}

    def _loads(self, resource: Resource) -> dict[str, float]:
        """Returns what every group that can still be cut holds of a resource."""
        widths = self._model.widths
        return {name: self._model.load(name, resource) for name in self._full if widths[name] > self._smallest[name]}

    def _give_back(self, group: str, asked: Mapping[Resource, float]) -> None:
        """Widens a group as far as all limits hold.

        With one limit that undoes part of the last cut, and fills what is left with single channels of other groups. With
        several it also undoes cuts that another limit has made needless since.
        """
        kept = self._model.widths[group]
        candidates = self._rule.between(kept, self._full[group])
        low, high = 0, len(candidates)  # candidates[:low] hold, candidates[high:] do not
        while low < high:
            middle = (low + high) // 2
            self._model.set_width(group, candidates[middle])
            if self._excess(asked):
                high = middle
            else:
                low = middle + 1
                kept = candidates[middle]
        self._model.set_width(group, kept)

    def _value(self, resource: Resource) -> float:
        if resource is Resource.LATENCY_MS:
            assert self._profile is not None, "absolute_budget refuses latency limits without a profile"
            return self._profile.predict_latency_ms(self._model.value(Resource.MACS))
        return self._model.value(resource)

    def _set(self, widths: Mapping[str, int]) -> None:
        for name, width in widths.items():
            if self._model.widths[name] != width:
                self._model.set_width(name, width)

    def _record(self, mode: PlanMode, seed: int) -> Plan:
        return Plan(self._graph.digest, mode, seed, dict(self._model.widths), dict(self._full), self._model.cost())


def _drawn(draw: random.Random, weights: Mapping[_T, float]) -> _T:
    """Draws a key in proportion to its weight. A single key takes no draw, so one limit is exactly its own mode."""
    names = list(weights)
    return names[0] if len(names) == 1 else draw.choices(names, list(weights.values()))[0]
