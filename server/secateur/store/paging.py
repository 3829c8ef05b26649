"""Pages that do not shift when rows are added: each token names the last row seen."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Double, and_, inspect, literal, or_, select, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import ExecutableOption

from secateur.core.errors import InvalidArgument
from secateur.store.columns import UtcDateTime
from secateur.store.tables import ArchitectureRow, JobRow, ModelRow

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 200


_PositionT = TypeVar("_PositionT")
_R = TypeVar("_R", ArchitectureRow, JobRow, ModelRow)


@dataclass(frozen=True, slots=True)
class SortKey:
    """What a list is ordered by.

    Args:
        expression: Never NULL.
        descending: Whether the largest comes first.
        kind: Type of its values.
    """

    expression: ColumnElement[Any]
    descending: bool
    kind: type[datetime | float | str]


def read_page(
    session: Session,
    kind: type[_R],
    project: str,
    page_size: int,
    page_token: str,
    *,
    options: Sequence[ExecutableOption] = (),
    where: Sequence[ColumnElement[bool]] = (),
    order: Sequence[SortKey] = (),
    asked: str = "",
) -> tuple[Sequence[_R], str]:
    """Returns one page of a project's rows and the token of the next page, empty at the end.

    Args:
        session: Session to read with.
        kind: Row class.
        project: Project whose rows are listed.
        page_size: Most rows in the page; 0 means 50, more than 200 is read as 200.
        page_token: Token of the page before; empty for the first.
        options: Loader options.
        where: Which rows: conditions that must all hold.
        order: What the rows are ordered by, and their id last; newest first by default.
        asked: What conditions and order were made from: a token only goes on with the same.

    Raises:
        InvalidArgument: PAGE_SIZE_INVALID or PAGE_TOKEN_INVALID.
    """
    if page_size < 0:
        raise InvalidArgument("PAGE_SIZE_INVALID", f"A page size is at least 0. Received: {page_size}", field="page_size")
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    scope = "/".join(filter(None, (kind.__tablename__, project, asked and blake2b(asked.encode(), digest_size=8).hexdigest())))
    keys = [*(order or [SortKey(inspect(kind).columns.create_time, True, datetime)])]
    keys.append(SortKey(inspect(kind).columns.id, keys[-1].descending, str))
    statement = select(kind, *(key.expression for key in keys)).where(kind.project == project, *where).options(*options)
    if page_token:
        statement = statement.where(_behind(keys, decode_token(page_token, scope, partial(_read_position, keys))))
    statement = statement.order_by(*(key.expression.desc() if key.descending else key.expression.asc() for key in keys))
    # One row more than asked for tells whether there is a next page.
    found = session.execute(statement.limit(size + 1)).all()
    rows = [row[0] for row in found[:size]]
    if len(found) <= size:
        return rows, ""
    last = (value.isoformat() if isinstance(value, datetime) else value for value in found[size - 1][1:])
    return rows, encode_token(scope, *last)


def _behind(keys: Sequence[SortKey], position: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """Returns the condition for rows behind a position; of one direction, as a comparison that an index answers."""
    if len({key.descending for key in keys}) == 1:
        place, last = tuple_(*(key.expression for key in keys)), tuple_(*position)
        return place < last if keys[0].descending else place > last
    found: list[ColumnElement[bool]] = []
    for depth, (key, value) in enumerate(zip(keys, position, strict=True)):
        same = [before.expression == at for before, at in zip(keys[:depth], position, strict=False)]
        found.append(and_(*same, key.expression < value if key.descending else key.expression > value))
    return or_(*found)


def encode_token(scope: str, *position: str | float) -> str:
    """Returns the token of the page that begins after a position.

    Args:
        scope: Which list it belongs to.
        position: What `decode_token` hands to its reader.
    """
    return base64.urlsafe_b64encode(json.dumps([scope, *position]).encode()).decode()


def decode_token(token: str, scope: str, read: Callable[..., _PositionT]) -> _PositionT:
    """Returns the position in a token.

    Args:
        token: What a client sent.
        scope: Which list is read.
        read: Turns what was encoded into the position; it may raise ValueError or TypeError.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    try:
        token_scope, *position = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
        if token_scope == scope:
            return read(*position)
    except (ValueError, TypeError, RecursionError):
        raise _bad_token("This is not a page token of this service") from None
    raise _bad_token("This page token belongs to another list")


def _read_position(keys: Sequence[SortKey], *values: object) -> list[ColumnElement[Any]]:
    return [_value(key.kind, value) for key, value in zip(keys, values, strict=True)]


def _value(kind: type[datetime | float | str], value: object) -> ColumnElement[Any]:
    if kind is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None and 1 < moment.year < 9999:
            return literal(moment, UtcDateTime())
    elif kind is float and isinstance(value, int | float):
        return number(value)
    elif kind is str and isinstance(value, str) and value.isprintable():
        return literal(value)
    raise ValueError(f"A position names a {kind.__name__} here. Received: {value!r}")


def number(value: float) -> ColumnElement[Any]:
    """Returns a parameter of the number's own type, whatever column it is compared with: 0.5 is not rounded to compare a count.

    Raises:
        ValueError: If no database has such a number.
    """
    if isinstance(value, int) and abs(value) < 2**63:
        return literal(int(value), BigInteger())
    if isinstance(value, float) and math.isfinite(value):
        return literal(value, Double())
    raise ValueError(f"A finite number of at most 64 bits is needed. Received: {value}")


def _bad_token(problem: str) -> InvalidArgument:
    return InvalidArgument(
        "PAGE_TOKEN_INVALID", f"{problem}; pass on what the answer before gave, or leave it empty", field="page_token"
    )
