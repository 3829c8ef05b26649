"""Tables of one look."""

from __future__ import annotations

from rich.table import Table


def new_table(*headings: str) -> Table:
    """Returns an empty table; a heading that starts with ">" is that of a column of figures."""
    table = Table()
    for heading in headings:
        table.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left", overflow="fold")
    return table
