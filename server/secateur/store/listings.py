"""What lists may be filtered and ordered by, and how a filter becomes SQL: the same rows on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, String, and_, exists, func, literal, not_, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.base import ExecutableOption

from secateur.core.filters import (
    All,
    Comparison,
    Expression,
    Field,
    Kind,
    Not,
    Operator,
    Some,
    Value,
    parse_filter,
    parse_order,
)
from secateur.core.jobs import JobStage, JobState
from secateur.store.columns import UtcDateTime
from secateur.store.paging import SortKey, number, read_page
from secateur.store.records import ARCHITECTURE_ID_LENGTH
from secateur.store.tables import JobRow, ModelRow
from secateur.store.trash import kept

_BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)
_R = TypeVar("_R", JobRow, ModelRow)

_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], Any]]] = {
    Operator.EQUAL: eq,
    Operator.NOT_EQUAL: ne,
    Operator.LESS: lt,
    Operator.AT_MOST: le,
    Operator.MORE: gt,
    Operator.AT_LEAST: ge,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A field of a list.

    Args:
        field: Its type, for whoever writes a filter.
        column: Where it is.
        read: Turns a word of a filter into a value of the column.
    """

    field: Field
    column: ColumnElement[Any] | InstrumentedAttribute[Any]
    read: Callable[[str], Any] = str

    @property
    def may_be_missing(self) -> bool:
        """Whether some rows have no value."""
        return bool(getattr(self.column, "nullable", False))


class Listing(Generic[_R]):
    """A list that can be filtered and ordered.

    Args:
        kind: Row class.
        listed: Its fields.
    """

    def __init__(self, kind: type[_R], listed: Mapping[str, Listed]) -> None:
        self._kind: type[_R] = kind
        self._listed = listed
        self.fields = {name: each.field for name, each in listed.items()}

    def read(
        self,
        session: Session,
        project: str,
        page_size: int,
        page_token: str,
        filter_text: str,
        order_by: str,
        *,
        show_deleted: bool = False,
        options: Sequence[ExecutableOption] = (),
    ) -> tuple[Sequence[_R], str]:
        """Returns one page of a project's rows and the token of the next page, empty at the end.

        Args:
            session: Session to read with.
            project: Project whose rows are listed.
            page_size: As for `read_page`.
            page_token: As for `read_page`; it only goes on with the same filter and order.
            filter_text: Which rows, see `secateur.core.filters`; empty for all.
            order_by: What they are ordered by; empty for the newest first. A value that is missing counts as the least.
            show_deleted: Whether deleted ones are among them.
            options: Loader options.

        Raises:
            InvalidArgument: FILTER_INVALID, ORDER_INVALID, PAGE_SIZE_INVALID or PAGE_TOKEN_INVALID.
        """
        expression, orders = parse_filter(filter_text, self.fields), parse_order(order_by, self.fields)
        conditions = [] if show_deleted else [kept(self._kind)]
        if expression is not None:
            conditions.append(self._condition(expression, session.get_bind().dialect.name))
        return read_page(
            session,
            self._kind,
            project,
            page_size,
            page_token,
            options=options,
            where=conditions,
            order=[self._sort_key(order.field, descending=order.descending) for order in orders],
            asked=json.dumps([filter_text, order_by]) if filter_text or order_by else "",
        )

    def _sort_key(self, name: str, *, descending: bool) -> SortKey:
        listed = self._listed[name]
        kind = datetime if listed.field.kind is Kind.TIME else float
        column: Any = listed.column
        if listed.may_be_missing:
            column = func.coalesce(column, literal(_BEFORE_ALL, UtcDateTime()) if kind is datetime else literal(-1))
        return SortKey(column, descending, kind)

    def _condition(self, expression: Expression, dialect: str) -> ColumnElement[bool]:
        match expression:
            case All(parts):
                return and_(*(self._condition(part, dialect) for part in parts))
            case Some(parts):
                return or_(*(self._condition(part, dialect) for part in parts))
            case Not(part):
                return not_(self._condition(part, dialect))
            case Comparison():
                listed = self._listed[expression.field]
                if listed.field.kind is Kind.LABELS:
                    return _LABELS[dialect](expression)
                return _compared(listed, expression, dialect)


def _compared(listed: Listed, asked: Comparison, dialect: str) -> ColumnElement[bool]:
    column: Any = listed.column
    if asked.operator is Operator.IS_SET:
        return and_(column.is_not(None), column != "") if listed.field.kind is Kind.TEXT else column.is_not(None)
    if asked.operator is Operator.CONTAINS:
        found: ColumnElement[bool] = getattr(func, _FIND[dialect])(column, asked.value) > 0
    else:
        found = _COMPARE[asked.operator](column, _parameter(listed, asked.value))
    # Two truth values, not SQL's three: if there is no value to compare, a comparison does not hold and its NOT does.
    return and_(column.is_not(None), found) if listed.may_be_missing else found


def _parameter(listed: Listed, value: Value) -> Any:
    match value:
        case datetime():
            return literal(value, UtcDateTime())
        case str():
            return listed.read(value)
    return number(value)


_FIND: Final = {"sqlite": "instr", "postgresql": "strpos"}


def _sqlite_label(asked: Comparison) -> ColumnElement[bool]:
    each = func.json_each(JobRow.labels).table_valued("key", "value", joins_implicitly=True)
    which = (each.c.key == asked.key, *_label_value(each.c.value, asked)) if asked.key else ()
    return exists(select(1).select_from(each).where(*which)).correlate(JobRow)


def _postgresql_label(asked: Comparison) -> ColumnElement[bool]:
    labels: Any = type_coerce(JobRow.labels, JSONB())
    if asked.operator is Operator.EQUAL:
        contained: ColumnElement[bool] = labels.contains({asked.key: asked.value})  # what the index answers
        return contained
    if not asked.key:
        some: ColumnElement[bool] = labels != literal({}, JSONB())
        return some
    value = labels[literal(asked.key, String())].astext
    return and_(value.is_not(None), *_label_value(value, asked))


def _label_value(value: Any, asked: Comparison) -> list[ColumnElement[bool]]:
    return [] if asked.operator is Operator.IS_SET else [_COMPARE[asked.operator](value, asked.value)]


_LABELS: Final = {"sqlite": _sqlite_label, "postgresql": _postgresql_label}


def _architecture_id(digest: InstrumentedAttribute[str]) -> ColumnElement[Any]:
    return func.substr(digest, 1, ARCHITECTURE_ID_LENGTH)


_NUMBER: Final = Field(Kind.NUMBER)
_TIME: Final = Field(Kind.TIME)
_TEXT: Final = Field(Kind.TEXT)
_NAME: Final = Field(Kind.NAME)

JOBS: Final = Listing(
    JobRow,
    {
        "state": Listed(Field(Kind.WORD, frozenset(state.value for state in JobState)), JobRow.state, JobState),
        "stage": Listed(Field(Kind.WORD, frozenset(stage.value for stage in JobStage)), JobRow.stage, JobStage),
        "display_name": Listed(_TEXT, JobRow.display_name),
        "labels": Listed(Field(Kind.LABELS), JobRow.labels),
        "architecture": Listed(_NAME, _architecture_id(JobRow.architecture)),
        "attempt": Listed(_NUMBER, JobRow.attempt),
        "error.reason": Listed(_TEXT, JobRow.error_reason),
        "create_time": Listed(_TIME, JobRow.create_time),
        "start_time": Listed(_TIME, JobRow.start_time),
        "end_time": Listed(_TIME, JobRow.end_time),
    },
)
"""Jobs."""

MODELS: Final = Listing(
    ModelRow,
    {
        "job": Listed(_NAME, ModelRow.job_id),
        "target_index": Listed(_NUMBER, ModelRow.target_index),
        "architecture": Listed(_NAME, _architecture_id(ModelRow.architecture)),
        "dataset": Listed(_NAME, ModelRow.dataset),
        "device_profile": Listed(_NAME, ModelRow.device_profile),
        "create_time": Listed(_TIME, ModelRow.create_time),
        "accuracy": Listed(_NUMBER, ModelRow.accuracy),
        "flash_bytes": Listed(_NUMBER, ModelRow.flash_bytes),
        "arena_bytes": Listed(_NUMBER, ModelRow.arena_bytes),
        "process_peak_bytes": Listed(_NUMBER, ModelRow.process_peak_bytes),
        "latency_ms": Listed(_NUMBER, ModelRow.latency_ms),
        "parameters": Listed(_NUMBER, ModelRow.parameters),
        "macs": Listed(_NUMBER, ModelRow.macs),
        "memory_bytes": Listed(_NUMBER, ModelRow.memory_bytes),
        "activation_bytes": Listed(_NUMBER, ModelRow.activation_bytes),
    },
)
"""Models, by figures of the file that goes onto the device; latency is that of the machine that measured."""
