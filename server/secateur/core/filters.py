"""Filters and orders of lists: a subset of AIP-160 and AIP-132, read into values that know their fields and types.

    state = RUNNING AND labels.site = "hall 3" AND (create_time >= 2026-01-01T00:00:00Z OR NOT display_name:nightly)

As in AIP-160, OR binds closer than AND. `:` asks whether a text contains another, whether there is a label (`labels:site`), and
with `*` whether there is a value (`start_time:*`) or any label (`labels:*`) at all. A comparison with a value that is not there
never holds, whatever the operator. Side by side is not AND here: an operator that was forgotten is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final, TypeAlias

from secateur.core.errors import InvalidArgument

MAX_LENGTH: Final = 2_000
"""Characters of the longest filter or order."""
MAX_DEPTH: Final = 16
"""How deep parentheses and NOT may be nested."""
MAX_COMPARISONS: Final = 50
"""Comparisons of the longest filter."""
MAX_ORDER_FIELDS: Final = 3
"""Fields that a list may be ordered by."""


class Operator(StrEnum):
    """What a comparison asks."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = ":"
    IS_SET = ":*"


class Kind(Enum):
    """Type of a field."""

    NUMBER = "a number above -2^63 and below 2^63"
    TIME = "a time such as 2026-01-31T12:00:00Z, of a year from 2 to 9998,"
    TEXT = "a text"
    WORD = "a word"
    NAME = "a resource name or id"
    LABELS = "labels"


_ORDERED: Final = frozenset(Operator) - {Operator.CONTAINS}
_OPERATORS: Final = {
    Kind.NUMBER: _ORDERED,
    Kind.TIME: _ORDERED,
    Kind.TEXT: frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.CONTAINS, Operator.IS_SET}),
    Kind.WORD: frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.IS_SET}),
    Kind.NAME: frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.IS_SET}),
    Kind.LABELS: frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.IS_SET}),
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a list may be filtered and ordered by.

    Args:
        kind: Its type.
        words: Of a word: those there are.
    """

    kind: Kind
    words: frozenset[str] = frozenset()


Fields: TypeAlias = Mapping[str, Field]
Value: TypeAlias = int | float | datetime | str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value.

    Args:
        field: Name of the field.
        operator: What is asked.
        value: Of the field's type: a float or int, an aware time, or a text; of a name its last part; "" for IS_SET.
        key: Of labels: which one; empty for any.
    """

    field: str
    operator: Operator
    value: Value
    key: str = ""


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that must not hold."""

    part: Expression


@dataclass(frozen=True, slots=True)
class All:
    """Conditions that must all hold."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Conditions of which at least one must hold."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = Comparison | Not | All | Some


@dataclass(frozen=True, slots=True)
class Order:
    """A field that a list is ordered by."""

    field: str
    descending: bool


def parse_filter(text: str, fields: Fields) -> Expression | None:
    """Returns what a filter asks; None if it is empty.

    Args:
        text: The filter.
        fields: Fields that it may name.

    Raises:
        InvalidArgument: FILTER_INVALID, saying where and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise _invalid(f"A filter has at most {MAX_LENGTH} characters. Received: {len(text)}")
    return _Parser(text, fields).read() if text.strip() else None


def parse_order(text: str, fields: Fields) -> tuple[Order, ...]:
    """Returns what a list is to be ordered by, for example "accuracy desc, flash_bytes"; empty if that is not said.

    Args:
        text: Names of fields, each alone or with "asc" or "desc".
        fields: Fields that there are; texts and labels are no order.

    Raises:
        InvalidArgument: ORDER_INVALID.
    """
    known = sorted(name for name, field in fields.items() if field.kind in (Kind.NUMBER, Kind.TIME))
    orders = []
    for part in text.split(",") if text.strip() else ():
        name, *direction = part.split() or [""]
        if name not in known or direction not in ([], ["asc"], ["desc"]):
            raise InvalidArgument(
                "ORDER_INVALID",
                f"An order is a list of fields, each with asc or desc behind it or neither; fields to order by: "
                f"{', '.join(known)}. Received: {part.strip()[:_LONGEST_ECHO]!r}",
                field="order_by",
            )
        orders.append(Order(name, direction == ["desc"]))
    names = [order.field for order in orders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice or len(names) > MAX_ORDER_FIELDS:
        raise InvalidArgument(
            "ORDER_INVALID",
            f"A list is ordered by at most {MAX_ORDER_FIELDS} fields, each named once. "
            f"Received: {f'{twice} more than once' if twice else f'{len(names)} fields'}",
            field="order_by",
        )
    return tuple(orders)


_LONGEST_ECHO: Final = 40
_BLANK: Final = re.compile(r"\s*")
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_/-]+")
_OPERATOR: Final = re.compile(r"!=|<=|>=|[=<>:]")
_BARE_VALUE: Final = re.compile(r"[^\s()\"',]+")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"' + r"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_WHOLE: Final = re.compile(r"[+-]?\d{1,30}")
_LARGEST: Final = 2**63 - 1


class _Parser:
    """Reads a filter from left to right; every method leaves the position behind what it has read."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._text = text
        self._fields = fields
        self._position = 0
        self._comparisons = 0

    def read(self) -> Expression:
        expression = self._all(0)
        if self._peek():
            raise self._expected("AND, OR or the end")
        return expression

    def _all(self, depth: int) -> Expression:
        parts = [self._some(depth)]
        while self._word("AND"):
            parts.append(self._some(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _some(self, depth: int) -> Expression:
        parts = [self._term(depth)]
        while self._word("OR"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _term(self, depth: int) -> Expression:
        self._peek()
        if depth > MAX_DEPTH:
            raise self._refused(f"parentheses and NOT may be nested {MAX_DEPTH} deep")
        if self._word("NOT"):
            return Not(self._term(depth + 1))
        if self._take("("):
            expression = self._all(depth + 1)
            if not self._take(")"):
                raise self._expected("AND, OR or )")
            return expression
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise self._refused(f"a filter has at most {MAX_COMPARISONS} comparisons")
        name, key = self._field()
        field = self._fields[name]
        self._peek()
        at = self._position
        found = _OPERATOR.match(self._text, at)
        if found is None:
            raise self._expected("one of = != < <= > >= :")
        self._position = found.end()
        if found[0] == ":" and field.kind is Kind.LABELS and not key:
            return Comparison(name, Operator.IS_SET, "", self._label())
        if found[0] == ":" and self._peek() == "*":
            self._position += 1
            operator = Operator.IS_SET
        elif found[0] == ":" and field.kind is Kind.LABELS:
            operator = Operator.EQUAL
        else:
            operator = Operator(found[0])
        if operator not in _OPERATORS[field.kind] or (field.kind is Kind.LABELS and not key):
            self._position = at
            allowed = " ".join(sorted(_OPERATORS[field.kind]))
            hint = f"a key, as in {name}.site" if field.kind is Kind.LABELS and not key else f"one of {allowed}"
            raise self._expected(f"{hint} behind {name}")
        return Comparison(name, operator, "" if operator is Operator.IS_SET else self._typed(name, field), key)

    def _field(self) -> tuple[str, str]:
        self._peek()
        at = self._position
        name = self._match(_PATH)
        if name in self._fields and self._fields[name].kind is Kind.LABELS:
            return name, self._key() if self._take(".", blank=False) else ""
        while name and name not in self._fields and self._take(".", blank=False):
            name += "." + self._match(_PATH)
        if name not in self._fields:
            self._position = at
            raise self._expected(f"a field: {', '.join(sorted(self._fields))}")
        return name, ""

    def _label(self) -> str:
        """Reads the key of the label that is asked for; empty for `*` without quotes, which stands for any label."""
        self._peek()
        at = self._position
        key = self._value()
        if not key:
            self._position = at
            raise self._expected("the key of a label, or * for any")
        return "" if self._text[at : self._position] == "*" else key

    def _key(self) -> str:
        key = self._quoted() if self._text[self._position : self._position + 1] in ('"', "'") else self._match(_BARE_KEY)
        if not key:
            raise self._expected("the key of a label; one with other characters than letters, digits, _ - / goes in quotes")
        return key

    def _typed(self, name: str, field: Field) -> Value:
        self._peek()
        at = self._position
        text = self._value()
        value: Value | None = text
        match field.kind:
            case Kind.NUMBER:
                value = _number(text)
            case Kind.TIME:
                value = _time(text)
            case Kind.NAME:
                value = text.rpartition("/")[2] or None
            case Kind.WORD:
                value = text if text in field.words else None
        if value is None:
            self._position = at
            wanted = f"one of {', '.join(sorted(field.words))}" if field.words else field.kind.value
            raise self._expected(f"{wanted} to compare {name} with")
        return value

    def _value(self) -> str:
        if self._peek() in ('"', "'"):
            return self._quoted()
        value = self._match(_BARE_VALUE)
        if not value:
            raise self._expected("a value")
        return value

    def _quoted(self) -> str:
        found = _QUOTED.match(self._text, self._position)
        if found is None:
            raise self._expected("a closing quote to what begins here")
        self._position = found.end()
        return re.sub(r"\\(.)", r"\1", found[1] if found[1] is not None else found[2], flags=re.DOTALL)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._position)
        if found is None:
            return ""
        self._position = found.end()
        return found[0]

    def _take(self, sign: str, *, blank: bool = True) -> bool:
        if blank:
            self._peek()
        if not self._text.startswith(sign, self._position):
            return False
        self._position += len(sign)
        return True

    def _word(self, word: str) -> bool:
        self._peek()
        found = _PATH.match(self._text, self._position)
        if found is None or found[0] != word:
            return False
        self._position = found.end()
        return True

    def _peek(self) -> str:
        """Skips blanks and returns the next character; empty at the end."""
        found = _BLANK.match(self._text, self._position)
        assert found is not None  # blanks may be none
        self._position = found.end()
        return self._text[self._position : self._position + 1]

    def _expected(self, what: str) -> InvalidArgument:
        rest = self._text[self._position : self._position + _LONGEST_ECHO]
        return self._refused(f"expected {what}", f"{rest!r}" if rest else "the end")

    def _refused(self, what: str, received: str = "more") -> InvalidArgument:
        return _invalid(f"At character {self._position + 1} of the filter: {what}. Received: {received}", self._position + 1)


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = int(text) if _WHOLE.fullmatch(text) else float(text)
    return value if math.isfinite(value) and abs(value) <= _LARGEST else None


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.utcoffset() is not None and 1 < moment.year < 9999 else None
    except ValueError:
        return None


def _invalid(message: str, position: int = 0) -> InvalidArgument:
    metadata = {"position": str(position)} if position else {}
    return InvalidArgument("FILTER_INVALID", message, field="filter", metadata=metadata)
