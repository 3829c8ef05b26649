"""Tables of one look."""

from __future__ import annotations

from rich.table import Table


def new_table(*headings: str) -> Table:
    """Returns an empty table.

    Args:
        headings: Of its columns; ">" before one makes it a column of figures, "=" one that is never folded, to copy from.
    """
    table = Table()
    for heading in headings:
        table.add_column(
            heading.lstrip(">="),
            justify="right" if heading.startswith(">") else "left",
            overflow="fold",
            no_wrap=heading.startswith("="),
        )
    return table
