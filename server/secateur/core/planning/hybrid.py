"""Hybrid plans: compound scaling in reverse, which takes away depth and width together (seed B).

EfficientNet makes a network deeper and wider at a fixed exchange rate; going backwards, depth is d = α^-φ and width is
w = β^-φ with α·β² = 2, so every unit of φ halves the MACs of a residual network (Sadaqa & Liu, arXiv 2509.08714). Which blocks
go follows from scores of their channels. What that costs is worked out exactly, so φ is found from the budget, not assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from secateur.core.cost import Cost, CostModel
from secateur.core.devices import DeviceProfile
from secateur.core.errors import Infeasible, InvalidArgument
from secateur.core.graph import LayerGraph, channel_groups
from secateur.core.graph.blocks import drop_blocks, residual_blocks
from secateur.core.graph.groups import Residual
from secateur.core.planning.budgets import absolute_budget, predicted
from secateur.core.planning.hybrid_scores import Scores, block_scores
from secateur.core.planning.plan import Plan
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget, Resource
from secateur.core.serial import digest_of, to_data
from secateur.core.specs import PlanMode

_BISECTIONS: Final = 30


class Order(StrEnum):
    """What is cut first. The second step sees what the first has left, and lands on the budget.

    LAYERS_FIRST scores blocks by all of their channels, then widens what is left as far as the budget allows. CHANNELS_FIRST
    scores blocks by the channels that stay, then takes back blocks, the best first, as far as the budget allows.
    """

    LAYERS_FIRST = "layers_first"
    CHANNELS_FIRST = "channels_first"


@dataclass(frozen=True, slots=True)
class Scaling:
    """The exchange rate between depth and width.

    Args:
        alpha: Base of depth, from 1 (channels only) to 2 (layers only). β follows from α·β² = 2.

    Raises:
        InvalidArgument: POLICY_INVALID, if α is out of range.
    """

    alpha: float = 1.2

    def __post_init__(self) -> None:
        if not 1 <= self.alpha <= 2:
            raise InvalidArgument("POLICY_INVALID", f"alpha lies between 1 and 2. Received: {self.alpha}", field="policy.alpha")

    @property
    def beta(self) -> float:
        """Base of width, from 1 to √2."""
        return math.sqrt(2 / self.alpha)

    def depth(self, phi: float) -> float:
        """Returns the share of the droppable blocks that stays."""
        return float(self.alpha**-phi)

    def width(self, phi: float) -> float:
        """Returns the share of the channels that stays."""
        return float(self.beta**-phi)


@dataclass(frozen=True, slots=True)
class HybridPlan:
    """Blocks to drop and widths of what is left. Serialise it with `secateur.core.serial`.

    Args:
        architecture: Digest of the unpruned graph.
        dropped: Names of the blocks that go, in execution order.
        order: What was cut first.
        alpha: Base of depth.
        phi: How far the network was scaled down, before landing.
        plan: Widths of the network without these blocks, and what it costs.
    """

    architecture: str
    dropped: tuple[str, ...]
    order: Order
    alpha: float
    phi: float
    plan: Plan

    @property
    def digest(self) -> str:
        """SHA-256 of the plan, hexadecimal."""
        return digest_of(to_data(self))

    @property
    def cost(self) -> Cost:
        """Predicted cost of the pruned network."""
        return self.plan.cost

    def apply(self, graph: LayerGraph) -> LayerGraph:
        """Returns the pruned network.

        Args:
            graph: The unpruned network that the plan was made for.

        Raises:
            InvalidArgument: PLAN_MISMATCH, if it is another network.
        """
        return self.plan.apply(self.shallow(graph))

    def shallow(self, graph: LayerGraph) -> LayerGraph:
        """Returns the network without the dropped blocks, at full width: what weights are inherited by.

        Raises:
            InvalidArgument: PLAN_MISMATCH, if it is not the network that the plan was made for.
        """
        if graph.digest != self.architecture:
            raise InvalidArgument(
                "PLAN_MISMATCH",
                f"The plan was made for the architecture {self.architecture[:16]}. Received: {graph.digest[:16]}",
                field="plan.architecture",
            )
        return drop_blocks(graph, self.dropped)


class HybridInfeasible(Infeasible):
    """No hybrid plan keeps the budget, even without any block that can go and with every group at its smallest width.

    Args:
        nearest: That plan.
        binding: Limit that is missed by most, relative to what was asked.
        asked: That limit.
        smallest: What the nearest plan takes of it.
    """

    def __init__(self, nearest: HybridPlan, binding: Resource, asked: float, smallest: float) -> None:
        super().__init__(
            "BUDGET_INFEASIBLE",
            f"No hybrid plan keeps {binding.value} at or below {asked:,.10g}: the smallest reachable value is "
            f"{smallest:,.10g}. Raise this limit, or allow narrower layers.",
            field=binding.value,
            metadata={"binding_limit": binding.value, "asked": f"{asked:.10g}", "smallest_reachable": f"{smallest:.10g}"},
        )
        self.nearest = nearest
        self.binding = binding


def hybrid_plan(
    graph: LayerGraph,
    budget: Budget,
    scores: Scores,
    *,
    scaling: Scaling | None = None,
    order: Order = Order.LAYERS_FIRST,
    residual: Residual = "skip",
    rule: WidthRule | None = None,
    profile: DeviceProfile | None = None,
) -> HybridPlan:
    """Plans depth and width together. The same arguments give the same plan.

    Args:
        graph: The unpruned network. Without droppable blocks only its widths are scaled.
        budget: Limits, absolute or relative. A floor on accuracy is left to training.
        scores: Scores of the channels of the groups within blocks, by whatever criterion; blocks without any are kept.
        scaling: Exchange rate between depth and width.
        order: What is cut first.
        residual: Whether the widths of residual streams stay ("skip") or shrink as well ("coupled").
        rule: Allowed widths.
        profile: Class of hardware that latency limits are about.

    Raises:
        HybridInfeasible: If the limits cannot all be kept; it carries the nearest plan.
        InvalidArgument: LIMIT_NEEDS_PROFILE.
    """
    search = _Search(graph, scores, scaling or Scaling(), order, residual, rule or WidthRule(), profile)
    return search.plan(budget)


@dataclass(frozen=True, slots=True)
class _Cut:
    """How many of the ranked blocks go, and the share of the channels that stays."""

    blocks: int
    width: float


class _Search:
    def __init__(
        self,
        graph: LayerGraph,
        scores: Scores,
        scaling: Scaling,
        order: Order,
        residual: Residual,
        rule: WidthRule,
        profile: DeviceProfile | None,
    ) -> None:
        self._graph = graph
        self._scores = scores
        self._scaling = scaling
        self._order = order
        self._residual: Residual = residual
        self._rule = rule
        self._profile = profile
        self._full = _prunable(graph, residual)
        self._droppable = tuple(block for block in residual_blocks(graph) if block.name in block_scores([block], scores))
        self._shallow = cache(self._without)

    def plan(self, budget: Budget) -> HybridPlan:
        unpruned = self._record(_Cut(0, 1.0), 0.0, ranking=())
        limits = absolute_budget(budget, unpruned.cost, self._profile).asked()
        asked = {resource: value for resource, value in limits.items() if not resource.is_floor}
        if self._holds(unpruned.cost, asked):
            return unpruned
        low, high = 0.0, self._deepest()
        smallest = self._at(high)
        if not self._holds(smallest.cost, asked):
            values = predicted(smallest.cost, self._profile)
            binding = max(asked, key=lambda resource: values[resource] / asked[resource])
            raise HybridInfeasible(smallest, binding, asked[binding], values[binding])
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._holds(self._at(middle).cost, asked) else (middle, high)
        return self._land(high, asked)

    def _deepest(self) -> float:
        """Returns a φ at which everything is at its smallest, as far as α and β reach it."""
        of_depth = math.log(2 * len(self._droppable) + 2, self._scaling.alpha) if self._scaling.alpha > 1 else 0.0
        widest = max(self._full.values(), default=1)
        of_width = math.log(2 * widest, self._scaling.beta) if self._scaling.beta > 1 else 0.0
        return max(of_depth, of_width)

    def _at(self, phi: float) -> HybridPlan:
        return self._record(self._cut(phi), phi, self._ranking(self._scaling.width(phi)))

    def _cut(self, phi: float) -> _Cut:
        gone = (1 - self._scaling.depth(phi)) * len(self._droppable)
        return _Cut(math.floor(gone + 0.5), self._scaling.width(phi))

    def _land(self, phi: float, asked: Mapping[Resource, float]) -> HybridPlan:
        """Spends what rounding has left of the budget on the step that comes second."""
        cut = self._cut(phi)
        ranking = self._ranking(cut.width)
        best = self._record(cut, phi, ranking)
        if self._order is Order.CHANNELS_FIRST:
            for blocks in range(cut.blocks - 1, -1, -1):
                candidate = self._record(_Cut(blocks, cut.width), phi, ranking)
                if not self._holds(candidate.cost, asked):
                    break
                best = candidate
            return best
        low, high = cut.width, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            candidate = self._record(_Cut(cut.blocks, middle), phi, ranking)
            if self._holds(candidate.cost, asked):
                low, best = middle, candidate
            else:
                high = middle
        return best

    def _ranking(self, width: float) -> tuple[str, ...]:
        """Returns the droppable blocks, the least needed first; of equals, the last in the network first."""
        kept = self._widths(self._full, width) if self._order is Order.CHANNELS_FIRST else None
        scores = block_scores(self._droppable, self._scores, kept)
        last_first = list(reversed(scores))
        return tuple(sorted(last_first, key=scores.__getitem__))

    def _widths(self, full: Mapping[str, int], share: float) -> dict[str, int]:
        return {group: self._rule.at_most(math.floor(share * width + 0.5), width) for group, width in full.items()}

    def _record(self, cut: _Cut, phi: float, ranking: tuple[str, ...]) -> HybridPlan:
        gone = set(ranking[: cut.blocks])
        dropped = tuple(block.name for block in self._droppable if block.name in gone)
        architecture, full, model = self._shallow(dropped)
        widths = self._widths(full, cut.width)
        for group, width in widths.items():
            if model.widths[group] != width:
                model.set_width(group, width)
        plan = Plan(architecture, PlanMode.UNIFORM, 0, widths, dict(full), model.cost())
        return HybridPlan(self._graph.digest, dropped, self._order, self._scaling.alpha, phi, plan)

    def _without(self, dropped: tuple[str, ...]) -> tuple[str, dict[str, int], CostModel]:
        graph = drop_blocks(self._graph, dropped) if dropped else self._graph
        groups = tuple(group for group in channel_groups(graph, residual=self._residual) if group.prunable)
        return graph.digest, {group.name: group.width for group in groups}, CostModel(graph, groups)

    def _holds(self, cost: Cost, asked: Mapping[Resource, float]) -> bool:
        values = predicted(cost, self._profile)
        return all(values[resource] <= limit for resource, limit in asked.items())


def _prunable(graph: LayerGraph, residual: Residual) -> dict[str, int]:
    return {group.name: group.width for group in channel_groups(graph, residual=residual) if group.prunable}
