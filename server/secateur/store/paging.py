"""Pages that do not shift when rows are added: each token names the last row seen."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, literal, select, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import ExecutableOption

from secateur.core.errors import InvalidArgument
from secateur.store.columns import UtcDateTime
from secateur.store.tables import ArchitectureRow, JobRow, ModelRow

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 200


_PositionT = TypeVar("_PositionT")
_R = TypeVar("_R", ArchitectureRow, JobRow, ModelRow)


def read_page(
    session: Session,
    kind: type[_R],
    project: str,
    page_size: int,
    page_token: str,
    *,
    options: Sequence[ExecutableOption] = (),
    where: Sequence[ColumnElement[bool]] = (),
) -> tuple[Sequence[_R], str]:
    """Returns one page of a project's rows, newest first, and the token of the next page, empty at the end.

    Args:
        session: Session to read with.
        kind: Row class; `create_time` and `id` order its rows.
        project: Project whose rows are listed.
        page_size: Most rows in the page; 0 means 50, more than 200 is read as 200.
        page_token: Token of the page before; empty for the first.
        options: Loader options.
        where: Further conditions.

    Raises:
        InvalidArgument: PAGE_SIZE_INVALID or PAGE_TOKEN_INVALID.
    """
    if page_size < 0:
        raise InvalidArgument("PAGE_SIZE_INVALID", f"A page size is at least 0. Received: {page_size}", field="page_size")
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    scope = f"{kind.__tablename__}/{project}"
    statement = select(kind).where(kind.project == project, *where).options(*options)
    if page_token:
        time, last_id = decode_token(page_token, scope, _read_row)
        statement = statement.where(tuple_(kind.create_time, kind.id) < tuple_(literal(time, UtcDateTime()), literal(last_id)))
    # One row more than asked for tells whether there is a next page.
    rows = session.scalars(statement.order_by(kind.create_time.desc(), kind.id.desc()).limit(size + 1)).all()
    if len(rows) <= size:
        return rows, ""
    last = rows[size - 1]
    return rows[:size], encode_token(scope, last.create_time.isoformat(), last.id)


def encode_token(scope: str, *position: str | int) -> str:
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
    except (ValueError, TypeError, binascii.Error):
        raise _bad_token("This is not a page token of this service") from None
    raise _bad_token("This page token belongs to another list")


def _read_row(time: str, last_id: str) -> tuple[datetime, str]:
    moment = datetime.fromisoformat(time)
    if moment.tzinfo is None:
        raise ValueError(f"A row is named by an aware time. Received: {time}")
    return moment, str(last_id)


def _bad_token(problem: str) -> InvalidArgument:
    return InvalidArgument(
        "PAGE_TOKEN_INVALID", f"{problem}; pass on what the answer before gave, or leave it empty", field="page_token"
    )
