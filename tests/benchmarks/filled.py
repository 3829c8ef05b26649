"""Fills a database: one real row, copied by the database itself as often as a benchmark needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Engine, String, Table, cast, insert, literal, select, true

Number: TypeAlias = ColumnElement[int]
"""Number of a copy, counted from 0, as SQL."""

_FIRST: Final = 10**15
_BATCH: Final = 50_000
"""Rows that are made in one transaction."""


def identifier(number: Number) -> ColumnElement[str]:
    """Returns 16 characters that are different for every number, as SQL."""
    return cast(number + literal(_FIRST, BigInteger), String)


def digest(number: Number) -> ColumnElement[str]:
    """Returns 64 characters that start with the identifier, as SQL."""
    return identifier(number) + "0" * 48


def copies(engine: Engine, row: type[Any], count: int, changed: dict[str, Callable[[Number], Any]], **chosen: Any) -> None:
    """Copies one row many times.

    Args:
        engine: The database.
        row: Its class.
        count: How many copies.
        changed: Per column, what it is in a copy; other columns stay as they are.
        **chosen: Which row: values of columns.
    """
    table: Table = row.__table__
    names = [column.name for column in table.columns]
    wanted = [table.c[name] == value for name, value in chosen.items()]
    for first in range(0, count, _BATCH):
        counted = select(literal(first, BigInteger).label("n")).cte("numbers", recursive=True)
        last = min(first + _BATCH, count) - 1
        numbers = counted.union_all(select(counted.c.n + 1).where(counted.c.n < last))
        columns = [changed[name](numbers.c.n).label(name) if name in changed else table.c[name] for name in names]
        made = select(*columns).select_from(table.join(numbers, true())).where(*wanted)
        with engine.begin() as connection:
            connection.execute(insert(table).from_select(names, made))
