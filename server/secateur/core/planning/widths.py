"""Which widths a plan may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from secateur.core.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class WidthRule:
    """Allowed widths of a group, and how far one step cuts.

    A group keeps its full width or a multiple of `round_to` that is at least `min_width` and `floor` times the full width. A
    group too narrow for that stays as it is.

    Args:
        step: Share of the present channels that one step removes, in (0, 1); at least one channel goes.
        round_to: Kept widths are multiples of this.
        min_width: Smallest kept width.
        floor: Smallest kept share of a group's full width, in [0, 1].

    Raises:
        InvalidArgument: POLICY_INVALID, if a value is out of range.
    """

    step: float = 0.1
    round_to: int = 1
    min_width: int = 4
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.step < 1:
            raise InvalidArgument(
                "POLICY_INVALID", f"The step lies above 0 and below 1. Received: {self.step}", field="policy.step"
            )
        for name in ("round_to", "min_width"):
            if getattr(self, name) < 1:
                raise InvalidArgument(
                    "POLICY_INVALID", f"{name} must be at least 1. Received: {getattr(self, name)}", field=f"policy.{name}"
                )

    def smallest(self, full: int) -> int:
        """Returns the smallest allowed width of a group of `full` channels."""
        least = max(self.min_width, math.ceil(self.floor * full)) if self.floor else self.min_width
        return min(full, -(-least // self.round_to) * self.round_to)

    def narrower(self, width: int, full: int) -> int:
        """Returns the width after one step from `width`, never below the smallest."""
        return self.at_most(width - max(1, math.floor(self.step * width)), full)

    def at_most(self, width: int, full: int) -> int:
        """Returns the widest allowed width up to `width`, but never below the smallest."""
        return full if width >= full else max(width // self.round_to * self.round_to, self.smallest(full))

    def between(self, low: int, high: int) -> tuple[int, ...]:
        """Returns the allowed widths above `low` and up to `high`, itself an allowed width, ascending."""
        first = (low // self.round_to + 1) * self.round_to
        return (*range(first, high, self.round_to), high) if low < high else ()
