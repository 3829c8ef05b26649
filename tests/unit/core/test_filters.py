"""The language of filters and orders."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core.errors import InvalidArgument
from secateur.core.filters import (
    MAX_COMPARISONS,
    MAX_DEPTH,
    MAX_LENGTH,
    All,
    Comparison,
    Expression,
    Field,
    Kind,
    Not,
    Operator,
    Order,
    Some,
    parse_filter,
    parse_order,
)

FIELDS = {
    "state": Field(Kind.WORD, frozenset({"QUEUED", "RUNNING"})),
    "name": Field(Kind.TEXT),
    "labels": Field(Kind.LABELS),
    "size": Field(Kind.NUMBER),
    "time": Field(Kind.TIME),
    "error.reason": Field(Kind.TEXT),
    "model": Field(Kind.NAME),
}
A, B, C = (Comparison("size", Operator.EQUAL, value) for value in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  ", None),
        ("state=QUEUED", Comparison("state", Operator.EQUAL, "QUEUED")),
        ('state != "RUNNING"', Comparison("state", Operator.NOT_EQUAL, "RUNNING")),
        ("size<=-1.5e3", Comparison("size", Operator.AT_MOST, -1500.0)),
        ("size > 9223372036854775807", Comparison("size", Operator.MORE, 2**63 - 1)),
        ("time >= 2026-01-31T12:00:00Z", Comparison("time", Operator.AT_LEAST, datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ("name:night", Comparison("name", Operator.CONTAINS, "night")),
        ("name = 'it\\'s'", Comparison("name", Operator.EQUAL, "it's")),
        ("time:*", Comparison("time", Operator.IS_SET, "")),
        ('labels.site = "hall 3"', Comparison("labels", Operator.EQUAL, "hall 3", "site")),
        ('labels."a.b c":x', Comparison("labels", Operator.EQUAL, "x", "a.b c")),
        ("labels:site", Comparison("labels", Operator.IS_SET, "", "site")),
        ("labels:*", Comparison("labels", Operator.IS_SET, "")),
        ('labels:"*"', Comparison("labels", Operator.IS_SET, "", "*")),
        ("labels.site:*", Comparison("labels", Operator.IS_SET, "", "site")),
        ("error.reason = WORKER_LOST", Comparison("error.reason", Operator.EQUAL, "WORKER_LOST")),
        ("model = projects/p/models/42", Comparison("model", Operator.EQUAL, "42")),
        ("size=1 AND size=2 AND size=3", All((A, B, C))),
        ("size=1 AND size=2 OR size=3", All((A, Some((B, C))))),  # as AIP-160 has it
        ("(size=1 AND size=2) OR size=3", Some((All((A, B)), C))),
        ("NOT size=1 OR NOT (size=2)", Some((Not(A), Not(B)))),
        ("((size=1))", A),
        ("size=1".rjust(MAX_LENGTH), A),
    ],
)
def test_what_is_read(text: str, expected: Expression | None) -> None:
    assert parse_filter(text, FIELDS) == expected


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("state = IDLE", 9, "one of QUEUED, RUNNING"),
        ("state < QUEUED", 7, "one of != :* ="),
        ("colour = red", 1, "a field: error.reason, labels, model"),
        ("size = big", 8, "a number above -2^63 and below 2^63 to compare size with"),
        ("size = 1e999", 8, "a number"),
        ("size = 9223372036854775808", 8, "below 2^63"),
        ("time < 9999-12-31T23:59:59Z", 8, "of a year from 2 to 9998"),
        ("time > 0001-12-31T23:59:59Z", 8, "of a year from 2 to 9998"),
        ('labels:""', 8, "the key of a label"),
        ("time > 2026-01-31", 8, "a time such as 2026-01-31T12:00:00Z"),
        ("size", 5, "one of = != < <= > >= :"),
        ("size =", 7, "a value"),
        ("size = 1 size = 2", 10, "AND, OR or the end"),
        ("(size = 1", 10, "AND, OR or )"),
        ("size = 1)", 9, "AND, OR or the end"),
        ("size = 1 AND", 13, "a field"),
        ('name = "open', 8, "a closing quote"),
        ("labels = x", 8, "a key, as in labels.site"),
        ("labels.site < x", 13, "one of"),
        ("labels. = x", 8, "the key of a label"),
        ("error.message = x", 1, "a field"),
        ("error .reason = x", 1, "a field"),
        ("name.site = x", 5, "one of = !="),
        ("labels .site = x", 8, "one of = !="),
        ("size:1", 5, "one of"),
        ("model = a/", 9, "a resource name or id"),
        ("NOT " * (MAX_DEPTH + 1) + "size = 1", 4 * (MAX_DEPTH + 1) + 1, f"nested {MAX_DEPTH} deep"),
        ("(" * 200, MAX_DEPTH + 2, f"nested {MAX_DEPTH} deep"),
        (" OR ".join(["size=1"] * (MAX_COMPARISONS + 1)), 10 * MAX_COMPARISONS + 1, f"at most {MAX_COMPARISONS} comparisons"),
    ],
)
def test_what_cannot_be_read_says_where_and_what_was_expected(text: str, position: int, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text, FIELDS)
    assert (caught.value.reason, caught.value.field) == ("FILTER_INVALID", "filter")
    assert words in caught.value.message
    assert caught.value.metadata["position"] == str(position), caught.value.message


def test_a_filter_of_any_length_is_not_read() -> None:
    with pytest.raises(InvalidArgument, match=f"at most {MAX_LENGTH} characters"):
        parse_filter(" " * MAX_LENGTH + "x", FIELDS)


@given(st.text(st.sampled_from("ab1 ()\"'.:=<>!,*\\ANDORNOTsizelabels"), max_size=30) | st.text(max_size=30))
def test_nothing_but_a_refusal_comes_of_noise(text: str) -> None:
    try:
        parse_filter(text, FIELDS)
        parse_order(text, FIELDS)
    except InvalidArgument as refusal:
        assert refusal.reason in ("FILTER_INVALID", "ORDER_INVALID")  # noqa: PT017


def test_orders() -> None:
    assert parse_order(" ", FIELDS) == ()
    assert parse_order("size", FIELDS) == (Order("size", descending=False),)
    assert parse_order("size desc,time asc", FIELDS) == (Order("size", descending=True), Order("time", descending=False))


@pytest.mark.parametrize("text", ["name", "labels", "size down", "size,", "size desc asc", ","])
def test_what_is_no_order(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_order(text, FIELDS)
    assert (caught.value.reason, caught.value.field) == ("ORDER_INVALID", "order_by")


def test_a_field_orders_once() -> None:
    with pytest.raises(InvalidArgument, match=r"each named once\. Received: size more than once") as caught:
        parse_order("size, time, size desc", FIELDS)
    assert (caught.value.reason, caught.value.field) == ("ORDER_INVALID", "order_by")


def test_three_fields_order_at_most() -> None:
    fields = {name: Field(Kind.NUMBER) for name in "abcd"}
    assert len(parse_order("a, b, c", fields)) == 3
    with pytest.raises(InvalidArgument, match=r"at most 3 fields, each named once\. Received: 4 fields"):
        parse_order("a, b, c, d", fields)
