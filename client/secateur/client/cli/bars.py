"""Bars made of text, for terminals and logs alike."""

from __future__ import annotations

from typing import Final

from rich.text import Text

_EIGHTHS: Final = "\u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_FULL: Final = "\u2588"
_EMPTY: Final = "\u2591"


def bar(share: float, *, cells: float) -> Text:
    """Returns a bar that is filled in part.

    Args:
        share: How much of it is filled, in [0, 1]; to an eighth of a cell, and at least that.
        cells: How wide it is when full.
    """
    eighths = max(1, round(8 * cells * min(share, 1)))
    whole, rest = divmod(eighths, 8)
    filled = _FULL * whole + (_EIGHTHS[rest - 1] if rest else "")
    return Text.assemble((filled, "cyan"), (_EMPTY * max(0, round(cells) - len(filled)), "dim"))
