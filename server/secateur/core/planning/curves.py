"""Budget curves: what a network costs at sampled widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from secateur.core.cost import Cost
from secateur.core.planning.bench import Bench
from secateur.core.planning.uniform import at_multiplier

SAMPLES: Final = 10
"""Multipliers that a curve samples: 1, 0.9, ..., 0.1."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a budget curve.

    Args:
        width: Width multiplier of all groups, in (0, 1]; what the width rule forbids is rounded down, floors are kept.
        cost: What the network costs there.
    """

    width: float
    cost: Cost


def budget_curve(bench: Bench) -> tuple[CurvePoint, ...]:
    """Returns what a network costs with all groups narrowed alike, from the full width down."""
    points = []
    for kept in range(SAMPLES, 0, -1):
        bench.set_widths(at_multiplier(bench, kept, SAMPLES))
        points.append(CurvePoint(kept / SAMPLES, bench.cost()))
    return tuple(points)
