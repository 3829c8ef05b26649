"""Hybrid plans: compound scaling in reverse, which takes away depth and width together (seed B).

EfficientNet makes a network deeper and wider at a fixed exchange rate; going backwards, depth is d = α^-φ and width is
w = β^-φ with α·β² = 2, so every unit of φ halves the MACs of a residual network (Sadaqa & Liu, arXiv 2509.08714). Which blocks
go follows from scores of their channels. What that costs is worked out exactly, so φ is found from the budget, not assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, Residual, channel_groups
from secateur.core.graph.blocks import drop_blocks, residual_blocks
from secateur.core.planning.bench import Bench
from secateur.core.planning.curves import SAMPLES, CurvePoint
from secateur.core.planning.hybrid_scores import Scores, block_scores, kept_channels, random_scores
from secateur.core.planning.infeasible import BudgetInfeasible
from secateur.core.planning.limits import Limits
from secateur.core.planning.plan import Plan
from secateur.core.planning.uniform import narrow_all_alike
from secateur.core.resources import Resource
from secateur.core.specs import Order, PlanMode

ALPHAS: Final = (1.0, 1.1, 1.2, 1.35, 1.5)
"""Bases of depth to try where none is given."""
DEFAULT_ALPHA: Final = 1.2
"""Base of depth where none is given and nothing is trained that could tell which is best: EfficientNet's own."""

_BISECTIONS: Final = 30
_SHALLOW_KEPT: Final = 64
"""Networks without some blocks that are kept for the next question; a plan asks for a dozen."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The exchange rate between depth and width.

    Args:
        alpha: Base of depth, from 1 (channels only) to 2 (layers only). β follows from α·β² = 2.

    Raises:
        InvalidArgument: POLICY_INVALID, if α is out of range.
    """

    alpha: float = DEFAULT_ALPHA

    def __post_init__(self) -> None:
        if not 1 <= self.alpha <= 2:
            raise InvalidArgument(
                "POLICY_INVALID", f"alpha lies between 1 and 2. Received: {self.alpha}", field="policy.hybrid.alpha"
            )

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

    def deepest(self, blocks: int, channels: int) -> float:
        """Returns a φ at which all blocks go and one channel stays, as far as α and β reach that.

        Args:
            blocks: Blocks that can go.
            channels: Channels of the widest group.
        """
        of_depth = math.log(2 * blocks + 2, self.alpha) if self.alpha > 1 else 0.0
        of_width = math.log(2 * channels, self.beta) if self.beta > 1 else 0.0
        return max(of_depth, of_width)


def groups_to_score(graph: LayerGraph, residual: Residual | str = Residual.SKIP) -> tuple[str, ...]:
    """Returns the channel groups that a hybrid plan may cut, whatever blocks it drops: those that need scores.

    Args:
        graph: The unpruned network.
        residual: Whether the widths of residual streams stay or shrink as well.
    """
    shallowest = drop_blocks(graph, [block.name for block in residual_blocks(graph)])
    owners = _owners(graph)
    found = {owners[name] for name in _prunable(graph, residual) | _prunable(shallowest, residual)}
    return tuple(layer.name for layer in graph if layer.name in found)


class HybridPlanner:
    """Plans depth and width of one network under one width rule. Not thread-safe.

    Args:
        graph: The unpruned network.
        bench: Its workbench.
        residual: Whether the widths of residual streams stay or shrink as well.
    """

    def __init__(self, graph: LayerGraph, bench: Bench, residual: Residual) -> None:
        self._graph = graph
        self._whole = bench
        self._residual = residual
        self._owners = _owners(graph)
        self.blocks = residual_blocks(graph)
        """Blocks that can go, in execution order."""
        self.without = lru_cache(_SHALLOW_KEPT)(self._without)
        """Returns the workbench of the network without some blocks, given by name in execution order."""
        self.unpruned = self.record((), bench.full)
        """The plan that cuts nothing."""

    def random_scores(self, seed: int) -> dict[str, tuple[float, ...]]:
        """Returns scores of all groups that say nothing."""
        return random_scores(self._graph, dict.fromkeys(self._owners.values()), seed)

    def plan(
        self,
        limits: Limits,
        scores: Scores,
        scaling: Scaling,
        order: Order = Order.LAYERS_FIRST,
        *,
        seed: int = 0,
        inherits: bool = True,
    ) -> Plan:
        """Plans depth and width together; without droppable blocks, width alone. The same arguments give the same plan.

        Args:
            limits: What has to hold.
            scores: Scores of the channels of at least the groups that `groups_to_score` names, by whatever criterion. Blocks
                without a scored group of their own stay.
            scaling: Exchange rate between depth and width.
            order: What is cut first.
            seed: Seed of the job; it is recorded and decides nothing.
            inherits: Whether the plan says which channels stay.

        Raises:
            BudgetInfeasible: If the limits cannot all be kept; it carries the nearest plan.
            InvalidArgument: SCORES_MISSING, if a plan that inherits keeps channels of a group with fewer scores.
        """
        descent = _Descent(self, scores, scaling, order)
        dropped, widths = descent.to(limits) or descent.at(descent.deepest)
        plan = self.record(dropped, widths, seed)
        if inherits:
            plan = replace(plan, indices=self._indices(widths, scores))
        if not limits.allow(limits.figures(plan.cost)):
            raise BudgetInfeasible.of(limits, plan, self.without(dropped), self._further(limits, scaling))
        return plan

    def smallest(self, scaling: Scaling) -> Plan:
        """Returns the plan without any block that can go, as narrow as the exchange rate allows."""
        descent = _Descent(self, self.random_scores(0), scaling, Order.LAYERS_FIRST)
        return self.record(*descent.at(descent.deepest))

    def curve(self, scaling: Scaling, seed: int) -> tuple[CurvePoint, ...]:
        """Returns what the network costs on the way down to a tenth of its width or depth, whichever shrinks faster.

        Args:
            scaling: Exchange rate between depth and width.
            seed: Seed that draws which blocks go.
        """
        descent = _Descent(self, self.random_scores(seed), scaling, Order.LAYERS_FIRST)
        step = math.log(SAMPLES, max(scaling.alpha, scaling.beta)) / (SAMPLES - 1)
        found = []
        for number in range(SAMPLES):
            dropped, widths = descent.at(number * step)
            found.append(CurvePoint(scaling.width(number * step), self.record(dropped, widths).cost))
        return tuple(found)

    def record(
        self, dropped: tuple[str, ...], widths: Mapping[str, int], seed: int = 0, mode: PlanMode = PlanMode.HYBRID
    ) -> Plan:
        """Returns a plan without some blocks.

        Args:
            dropped: Their names in execution order.
            widths: Width of every group of what is left.
            seed: Seed to be recorded.
            mode: Mode to be recorded.
        """
        bench = self.without(dropped)
        bench.set_widths(widths)
        digest = self._graph.digest
        return Plan(digest, mode, seed, dict(widths), dict(bench.full), bench.cost(), dropped=dropped)

    def _without(self, dropped: tuple[str, ...]) -> Bench:
        whole = self._whole
        return Bench(drop_blocks(self._graph, dropped), whole.rule, self._residual, whole.go_on) if dropped else whole

    def _indices(self, widths: Mapping[str, int], scores: Scores) -> dict[str, tuple[int, ...]]:
        # a group of the shallow network may be one half of a group of the whole, whose scores it then has
        return kept_channels({name: scores.get(self._owners[name], ()) for name in widths}, widths)

    def _further(self, limits: Limits, scaling: Scaling) -> Mapping[Resource, float] | None:
        return None if self._residual is Residual.COUPLED else limits.figures(self._coupled.smallest(scaling).cost)

    @cached_property
    def _coupled(self) -> HybridPlanner:
        bench = Bench(self._graph, self._whole.rule, Residual.COUPLED, self._whole.go_on)
        return HybridPlanner(self._graph, bench, Residual.COUPLED)


class _Descent:
    """The way from the whole network to the smallest: at every φ, which blocks are gone and what widths are left."""

    def __init__(self, planner: HybridPlanner, scores: Scores, scaling: Scaling, order: Order) -> None:
        self._planner = planner
        self._scores = scores
        self._scaling = scaling
        self._order = order
        self._full = planner.without(()).full
        scored = block_scores(planner.blocks, scores)
        self._blocks = tuple(block for block in planner.blocks if block.name in scored)
        self.deepest = scaling.deepest(len(self._blocks), max(self._full.values(), default=1))

    def to(self, limits: Limits) -> tuple[tuple[str, ...], Mapping[str, int]] | None:
        """Returns the blocks that go and the widths of what is left, on the budget; None if there is no way."""
        if self._hold(limits, *self.at(0)):
            return self.at(0)
        if not self._hold(limits, *self.at(self.deepest)):
            return None
        low, high = 0.0, self.deepest
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._hold(limits, *self.at(middle)) else (middle, high)
        return self._land(limits, high)

    def at(self, phi: float) -> tuple[tuple[str, ...], Mapping[str, int]]:
        """Returns the blocks that are gone and the widths that are left at a φ."""
        share = self._scaling.width(phi)
        return self._cut(self._ranking(share)[: self._gone(phi)], share)

    def _gone(self, phi: float) -> int:
        return math.floor((1 - self._scaling.depth(phi)) * len(self._blocks) + 0.5)

    def _land(self, limits: Limits, phi: float) -> tuple[tuple[str, ...], Mapping[str, int]]:
        """Spends what rounding has left of the budget on the step that comes second."""
        share, gone = self._scaling.width(phi), self._gone(phi)
        ranking = self._ranking(share)
        best = self._cut(ranking[:gone], share)
        if self._order is Order.CHANNELS_FIRST:
            while gone and self._hold(limits, *(more := self._cut(ranking[: gone - 1], share))):
                gone, best = gone - 1, more
            return best
        bench = self._planner.without(best[0])
        narrow_all_alike(bench, limits)
        # an arena can grow as a network shrinks: then what was found on the way down stays
        return (best[0], dict(bench.widths)) if limits.hold(bench) else best

    def _cut(self, gone: Sequence[str], share: float) -> tuple[tuple[str, ...], Mapping[str, int]]:
        dropped = tuple(block.name for block in self._blocks if block.name in gone)
        return dropped, self._widths(self._planner.without(dropped), share)

    def _widths(self, bench: Bench, share: float) -> dict[str, int]:
        return {name: bench.rule.at_most(math.floor(share * full + 0.5), full) for name, full in bench.full.items()}

    def _ranking(self, share: float) -> tuple[str, ...]:
        """Returns the blocks, the least needed first; of equals, the last in the network first."""
        kept = self._widths(self._planner.without(()), share) if self._order is Order.CHANNELS_FIRST else None
        scores = block_scores(self._blocks, self._scores, kept)
        last_first = list(reversed(scores))
        return tuple(sorted(last_first, key=scores.__getitem__))

    def _hold(self, limits: Limits, dropped: tuple[str, ...], widths: Mapping[str, int]) -> bool:
        bench = self._planner.without(dropped)
        bench.set_widths(widths)
        return limits.hold(bench)


def _owners(graph: LayerGraph) -> dict[str, str]:
    """Returns, for every producer of channels, the group of the network that it belongs to."""
    groups = channel_groups(graph, residual=Residual.COUPLED)
    return {producer: group.name for group in groups for producer in group.producers}


def _prunable(graph: LayerGraph, residual: Residual | str) -> frozenset[str]:
    return frozenset(group.name for group in channel_groups(graph, residual=residual) if group.prunable)
