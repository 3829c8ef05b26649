"""Search: many plans for one budget, of which scores of untrained networks are to find the best.

What decides how good a pruned network gets is how its widths are spread over its layers, and no resource tells that well. So
plans are drawn in many ways, and whoever can build networks ranks them without training.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from statistics import fmean
from typing import Final

from secateur.core.devices import DeviceProfile
from secateur.core.graph import LayerGraph
from secateur.core.planning.bench import Bench
from secateur.core.planning.complexity import RESOURCE_OF_MODE, cut_until_it_fits, give_back
from secateur.core.planning.hybrid import ALPHAS, Scaling
from secateur.core.planning.limits import Limits
from secateur.core.planning.plan import Plan
from secateur.core.planning.planner import Planner
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget, Resource
from secateur.core.specs import PlanMode, PlanPolicy, SearchPolicy

TEMPERATURES: Final = (0.0, 0.25, 0.5, 1.0, 1.5)
"""Powers of the shares by which groups are drawn; that of the policy comes on top."""
FLOORS: Final = (0.0, 0.1, 0.25)
"""Shares of its full width below which no group goes."""

_STEP: Final = 0.35
"""Least share of a group that one step removes: coarse steps make plans that differ more, and a fraction of the work."""
_AT_ONCE: Final = 6
"""Steps between two looks at limits and shares."""
_SHALLOW_SHARE: Final = 0.25
"""Share of the draws that go to networks without some of their blocks."""
_SHALLOW_MOST: Final = 8
"""Most such networks; making one takes as long as planning a few times."""
_LANDED: Final = 6
"""Groups that are given back to after the last cut: the last few spend almost all that it overshot."""
_DRAWS_PER_CANDIDATE: Final = 3
"""Draws before a search settles for fewer candidates than it was asked for: small networks do not have as many plans."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan that was drawn.

    Args:
        origin: How it was drawn, for people.
        plan: The plan. One that drops blocks has mode HYBRID.
        missed: Limits that its prediction does not keep, because the floor under its widths is too high.
    """

    origin: str
    plan: Plan
    missed: tuple[Resource, ...]


def draw_candidates(
    graph: LayerGraph, budget: Budget, policy: PlanPolicy, *, seed: int = 0, profile: DeviceProfile | None = None
) -> tuple[Candidate, ...]:
    """Draws plans for one budget. The same arguments give the same plans.

    The first is that of uniform width, the second what the policy comes to without a search. All others follow the mode of
    the policy under changing seeds, temperatures and floors, a quarter of them on networks without some of their blocks,
    where there are blocks that can go. No two are the same network.

    Args:
        graph: The unpruned network.
        budget: Limits, absolute or relative. A floor on accuracy is left to training.
        policy: How to plan. Without a search policy, the default one.
        seed: Seed of all draws.
        profile: Class of hardware that latency limits are about.

    Returns:
        As many candidates as the policy asks for, or fewer where the network does not have as many plans.

    Raises:
        BudgetInfeasible: If the limits cannot all be kept; it carries the nearest plan.
        InvalidArgument: LIMIT_NEEDS_PROFILE, or POLICY_INVALID for a mode that draws nothing.
    """
    search = policy.search or SearchPolicy()
    policy = replace(policy, search=search)  # refuses a mode that draws nothing
    planner = Planner.of(graph, policy, profile)
    own = planner.plan(budget, policy.mode, seed)
    found = _Found()
    found.add(Candidate("uniform", planner.plan(budget, PlanMode.UNIFORM, seed), ()))
    found.add(Candidate(_origin(policy.mode, seed, policy.temperature), own, ()))
    if not own.changes_nothing:
        draws = _Draws(planner, policy, planner.limits(budget), seed, search.candidates)
        for number in range(1, _DRAWS_PER_CANDIDATE * search.candidates + 1):
            if len(found.candidates) == search.candidates:
                break
            found.add(draws.candidate((seed + number) % 2**32))
    return tuple(found.candidates)


def ranks(scores: Sequence[Mapping[str, float]]) -> tuple[float, ...]:
    """Returns the mean rank of every candidate over all proxies; 1 is the best.

    Candidates that a proxy scores alike share the mean of their ranks. Scores that are not finite rank last.

    Args:
        scores: Scores by proxy of every candidate, the higher the better; all candidates have the same proxies.
    """
    proxies = scores[0] if scores else ()
    columns = [_ranks([of[proxy] if math.isfinite(of[proxy]) else -math.inf for of in scores]) for proxy in proxies]
    return tuple(fmean(row) for row in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class _Network:
    """A network that plans are drawn for, under one floor.

    Args:
        dropped: Blocks that it is without, in execution order.
        origin: What tells it from the whole network, for people.
        bench: Its workbench.
        fits: Whether the limits hold with every group at its smallest width.
    """

    dropped: tuple[str, ...]
    origin: str
    bench: Bench
    fits: bool


class _Found:
    """Candidates so far; the same network is taken once."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self._seen: set[tuple[tuple[str, ...], tuple[int, ...]]] = set()

    def add(self, candidate: Candidate) -> None:
        key = (candidate.plan.dropped, tuple(candidate.plan.widths.values()))
        if key not in self._seen:
            self._seen.add(key)
            self.candidates.append(candidate)


class _Draws:
    """Candidates of one budget."""

    def __init__(self, planner: Planner, policy: PlanPolicy, limits: Limits, seed: int, wanted: int) -> None:
        self._planner = planner
        self._policy = policy
        self._limits = limits
        self._draw = random.Random(f"search:{seed}")  # noqa: S311  reproducible, not secret
        self._temperatures = sorted({*TEMPERATURES, policy.temperature})
        self._shallow = [*self._shallow_networks(min(_SHALLOW_MOST, wanted // 8))]
        self._network = cache(self._network_under)
        self._missed: list[_Network] = []

    def candidate(self, seed: int) -> Candidate:
        """Draws one.

        Args:
            seed: Seed of its plan.
        """
        whole = not self._shallow or self._draw.random() >= _SHALLOW_SHARE
        dropped, origin = ((), "") if whole else self._draw.choice(self._shallow)
        network = self._network(dropped, origin, self._draw.choice(FLOORS))
        temperature = self._draw.choice(self._temperatures)
        if not network.fits and network in self._missed:  # it has but one plan, the nearest
            network = self._network(dropped, origin, 0.0)
        mode, bench, limits = self._policy.mode, network.bench, self._limits
        if network.fits:
            bench.set_widths(bench.full)
            cuts = cut_until_it_fits(bench, limits, RESOURCE_OF_MODE.get(mode), seed, temperature, at_once=_AT_ONCE)
            give_back(bench, limits, list(dict.fromkeys(reversed(cuts)))[:_LANDED])
        else:
            self._missed.append(network)
            bench.set_widths(bench.smallest)
        plan = self._planner.hybrid.record(dropped, bench.widths, seed, PlanMode.HYBRID if dropped else mode)
        return Candidate(_origin(mode, seed, temperature) + network.origin, plan, tuple(limits.excess(bench)))

    def _shallow_networks(self, number: int) -> Iterator[tuple[tuple[str, ...], str]]:
        """Draws which blocks go: as many as a base of depth takes away on the way to the budget."""
        blocks = self._planner.hybrid.blocks
        full = self._limits.figures(self._planner.unpruned.cost)
        phi = math.log2(max(full[resource] / asked for resource, asked in self._limits.asked.items()))
        for alpha in islice(cycle(ALPHAS[1:]), number if blocks else 0):
            gone = max(1, round((1 - Scaling(alpha).depth(phi)) * len(blocks)))
            names = set(self._draw.sample([block.name for block in blocks], gone))
            origin = f", without {gone} of {len(blocks)} blocks (alpha {alpha:g})"
            yield tuple(block.name for block in blocks if block.name in names), origin

    def _network_under(self, dropped: tuple[str, ...], origin: str, floor: float) -> _Network:
        policy = self._policy
        rule = WidthRule(max(policy.step, _STEP), policy.round_to, policy.min_width, floor)
        bench = self._planner.hybrid.without(dropped).under(rule)
        bench.set_widths(bench.smallest)
        above = f", at least {floor:.0%} of every width" if floor else ""
        return _Network(dropped, above + origin, bench, self._limits.hold(bench))


def _origin(mode: PlanMode, seed: int, temperature: float) -> str:
    return f"{mode}, seed {seed}, temperature {temperature:g}"


def _ranks(values: Sequence[float]) -> list[float]:
    """Returns the rank of every value, 1 for the highest; equal values share the mean of theirs."""
    ascending = sorted(values)
    above = {value: len(values) - bisect_right(ascending, value) for value in ascending}
    return [above[value] + (bisect_right(ascending, value) - bisect_left(ascending, value) + 1) / 2 for value in values]
