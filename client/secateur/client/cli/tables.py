"""Tables of one look, which people can read on whatever width their terminal has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP: Final = 2
_LEAST_FOLDED: Final = 14
"""Cells between two columns, and the least that a column whose texts may be folded is narrowed to."""


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    cells: Sequence[Text]
    figures: bool
    folds: bool

    @property
    def whole(self) -> int:
        """Width at which nothing is folded."""
        return max(*(len(line) for line in self.heading.splitlines()), *(cell.cell_len for cell in self.cells), 0)

    @property
    def least(self) -> int:
        """Width that it needs: headings may be folded between words."""
        if self.folds:
            return min(self.whole, _LEAST_FOLDED)
        return max(*(len(word) for word in self.heading.split()), *(cell.cell_len for cell in self.cells), 0)


class FittingTable:
    """Rows under headings: a table where that fits, else a paragraph for each row. No figure and no name is ever folded.

    Columns in which nothing stands are left out.

    Args:
        headings: Of the columns; ">" before one makes it a column of figures, "~" one whose texts may be folded.
        caption: What stands below.
    """

    def __init__(self, *headings: str, caption: str = "") -> None:
        self._headings = headings
        self._caption = caption
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Adds a row with a cell for each heading; texts are shown as they are, without markup."""
        self._rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        """Yields the table or the paragraphs, and the caption."""
        columns = self._columns()
        spare = options.max_width - sum(column.least for column in columns) - _GAP * (len(columns) - 1)
        if spare >= 0:
            yield _table(columns, spare)
        else:
            yield from _paragraphs(columns)
        if self._caption:
            yield Text(self._caption, style="dim")

    def _columns(self) -> list[_Column]:
        found = []
        for place, heading in enumerate(self._headings):
            cells = [row[place] for row in self._rows]
            if any(cells) or not cells:
                found.append(_Column(heading.lstrip(">~"), cells, heading.startswith(">"), heading.startswith("~")))
        return found


def spaced(parts: Iterable[RenderableType]) -> Group:
    """Returns parts with an empty line between any two."""
    return Group(*[line for part in parts for line in ("", part)][1:])


def _table(columns: Sequence[_Column], spare: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for column, width in zip(columns, _widths(columns, spare), strict=True):
        justify: JustifyMethod = "right" if column.figures else "left"
        table.add_column(column.heading, justify=justify, overflow="fold", width=width)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _widths(columns: Sequence[_Column], spare: int) -> list[int]:
    """Returns how wide each column is: what is to spare goes to texts in equal shares, and what they leave to headings."""
    widths = [column.least for column in columns]
    for folds in (True, False):
        waiting = [place for place, column in enumerate(columns) if column.folds == folds]
        for done, place in enumerate(waiting):
            more = min(columns[place].whole - columns[place].least, spare // (len(waiting) - done))
            widths[place] += more
            spare -= more
    return widths


def _paragraphs(columns: Sequence[_Column]) -> Iterable[RenderableType]:
    first, *others = columns
    for place, title in enumerate(first.cells):
        yield Text.assemble(title, style="bold")
        facts = [Text.assemble(f"{other.heading} ", other.cells[place]) for other in others if other.cells[place]]
        yield Padding(Text(", ").join(facts), (0, 0, 0, _GAP))
