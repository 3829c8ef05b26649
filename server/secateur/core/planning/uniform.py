"""The first baseline: one width multiplier for all groups, as large as the budget allows."""

from __future__ import annotations

from secateur.core.planning.bench import Bench
from secateur.core.planning.limits import Limits


def narrow_all_alike(bench: Bench, limits: Limits) -> None:
    """Gives every group the same share of its channels, as many as keep the limits.

    The multiplier is found by bisection over all those at which any width changes, widths being rounded down. What is left of
    the budget then goes to rounding up: groups by the multiplier at which they would be next, each by at most one step. So
    every width is that of one multiplier to within its rounding.

    Args:
        bench: The network; the limits hold with every group at its smallest width.
        limits: What has to hold.
    """
    fulls = set(bench.full.values())
    multipliers = sorted({(kept / full): (kept, full) for full in fulls for kept in range(1, full + 1)}.items())
    best = bench.smallest
    low, high = 0, len(multipliers)  # multipliers[:low] hold, multipliers[high:] do not
    while low < high:
        middle = (low + high) // 2
        widths = at_multiplier(bench, *multipliers[middle][1])
        bench.set_widths(widths)
        if limits.hold(bench):
            low, best = middle + 1, widths
        else:
            high = middle
    bench.set_widths(best)
    steps = {name: bench.rule.between(width, bench.full[name])[0] for name, width in best.items() if width < bench.full[name]}
    for name in sorted(steps, key=lambda name: steps[name] / bench.full[name]):
        bench.set_width(name, steps[name])
        if not limits.hold(bench):
            bench.set_width(name, best[name])


def at_multiplier(bench: Bench, kept: int, of: int) -> dict[str, int]:
    """Returns the allowed widths with `kept` / `of` of the channels of every group, rounded down."""
    return {name: bench.rule.at_most(full * kept // of, full) for name, full in bench.full.items()}
