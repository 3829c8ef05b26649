"""Seed A, Algorithm 1, made to keep several limits, floors and the budget itself (Zawish, Davy & Abraham, arXiv 2208.12816).

Every step draws a group with a probability in proportion to what it holds of a resource and removes a share of its channels;
steps repeat until every limit holds. Which channels go is not decided here.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Final, TypeVar

from secateur.core.planning.bench import Bench
from secateur.core.planning.limits import Limits
from secateur.core.resources import Resource
from secateur.core.specs import PlanMode

RESOURCE_OF_MODE: Final = {
    PlanMode.PARAMETERS: Resource.PARAMETERS,
    PlanMode.FLOPS: Resource.FLOPS,
    PlanMode.MEMORY: Resource.MEMORY_BYTES,
    PlanMode.ACTIVATION: Resource.ACTIVATION_BYTES,
}
"""What groups are drawn by; mode DEVICE looks at every limit."""

_T = TypeVar("_T")


def cut_until_it_fits(
    bench: Bench,
    limits: Limits,
    resource: Resource | None,
    seed: int,
    temperature: float = 1.0,
    *,
    at_once: int = 1,
) -> tuple[str, ...]:
    """Cuts groups until every limit holds. Terminates if the limits hold with every group at its smallest width.

    Args:
        bench: The network as it is to start from.
        limits: What has to hold.
        resource: Groups are drawn by their share of it. None draws one of the limits not yet kept first, in proportion to its
            relative excess; with one limit that is the same as naming its resource.
        seed: Seed of all draws.
        temperature: Groups are drawn by their share to this power: 1 is the paper, 0 draws all alike that can still be cut.
        at_once: Groups that are drawn and cut before limits and shares are looked at again.

    Returns:
        The group that every step cut, in order.
    """
    draw = random.Random(seed)  # noqa: S311  reproducible, not secret
    cuts: list[str] = []
    while excess := limits.excess(bench):
        # a single limit takes no draw, so that one limit is exactly its own mode
        drawn = resource or (next(iter(excess)) if len(excess) == 1 else _one(draw, [*excess], [*excess.values()]))
        loads = bench.loads(drawn)
        groups = draw.choices([*loads], _tempered(loads.values(), temperature), k=at_once)
        for group in groups:
            bench.narrow(group)
        cuts += groups
    return tuple(cuts)


class Path:
    """The cuts that one seed draws by one resource, as far as any budget has asked for them.

    They do not depend on the budget, only how many of them it takes does. So budgets of one network share what they have in
    common.

    Args:
        bench: The network.
        resource: Groups are drawn by their share of it.
        seed: Seed of all draws.
        temperature: Power of the shares.
    """

    def __init__(self, bench: Bench, resource: Resource, seed: int, temperature: float) -> None:
        self._bench = bench
        self._resource = resource
        self._temperature = temperature
        self._draw = random.Random(seed)  # noqa: S311  reproducible, not secret
        self._cuts: list[tuple[str, int]] = []

    def until(self, limits: Limits) -> tuple[str, ...]:
        """Does what `cut_until_it_fits` does from the full width on.

        Args:
            limits: What has to hold: limits on what shrinks with every cut, which the arena need not.
        """
        bench = self._bench
        enough = bisect_left(range(len(self._cuts)), True, key=lambda number: self._hold_after(number, limits))
        bench.set_widths(self._widths_after(enough))
        while not limits.hold(bench):
            group = _one(self._draw, [*bench.full], _tempered(bench.loads(self._resource).values(), self._temperature))
            bench.narrow(group)
            self._cuts.append((group, bench.widths[group]))
            enough += 1
        return tuple(group for group, _ in self._cuts[:enough])

    def _hold_after(self, number: int, limits: Limits) -> bool:
        self._bench.set_widths(self._widths_after(number))
        return limits.hold(self._bench)

    def _widths_after(self, number: int) -> dict[str, int]:
        return {**self._bench.full, **dict(self._cuts[:number])}


def _tempered(loads: Collection[float], temperature: float) -> list[float]:
    return [*loads] if temperature == 1 else [load**temperature if load else 0 for load in loads]


def _one(draw: random.Random, names: list[_T], weights: list[float]) -> _T:
    return draw.choices(names, weights)[0]


def give_back(bench: Bench, limits: Limits, groups: Sequence[str]) -> None:
    """Widens groups in turn, each as far as all limits hold.

    Given the groups in the reverse order of their cuts, that undoes part of the last cut and fills what is left with single
    channels of others. With several limits it also undoes cuts that another limit has made needless since.

    Args:
        bench: A network that keeps the limits.
        limits: What has to go on holding.
        groups: Groups in the order in which they are tried.
    """
    for group in groups:
        kept = bench.widths[group]
        candidates = bench.rule.between(kept, bench.full[group])
        low, high = 0, len(candidates)  # candidates[:low] hold, candidates[high:] do not
        probe = 0  # most groups have no room for a single step: that is tried first
        while low < high:
            bench.set_width(group, candidates[probe])
            if limits.hold(bench):
                low, kept = probe + 1, candidates[probe]
            else:
                high = probe
            probe = (low + high) // 2
        if bench.widths[group] != kept:
            bench.set_width(group, kept)
