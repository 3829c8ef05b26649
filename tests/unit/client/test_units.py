"""Sizes, counts, times and shares as people write them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.client import UsageError, units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64KiB", 65_536),
        ("64kB", 64_000),
        ("1.5 MiB", 1_572_864),
        ("1MB", 1_000_000),
        ("7B", 7),
        ("65_536", 65_536),
        (123, 123),
    ],
)
def test_a_size_is_read(text: str | float, expected: int) -> None:
    assert units.parse_bytes(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("50k", 50_000), ("1.5M", 1_500_000), ("2g", 2 * 10**9), (12.0, 12)])
def test_a_count_is_read(text: str | float, expected: int) -> None:
    assert units.parse_count(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("216MHz", 216_000_000), ("1.5 GHz", 1_500_000_000), (64e6, 64_000_000)])
def test_a_frequency_is_read(text: str | float, expected: int) -> None:
    assert units.parse_hertz(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("20ms", 20.0), (20, 20.0), ("0.5s", 500.0), ("800us", 0.8), ("800 µs", 0.8)])
def test_a_latency_is_read(text: str | float, expected: float) -> None:
    assert units.parse_milliseconds(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("90", 90.0), ("10m", 600.0), ("1h", 3600.0), ("250ms", 0.25)])
def test_a_time_to_wait_is_read(text: str, expected: float) -> None:
    assert units.parse_seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("50%", 0.5), ("95 %", 0.95), (0.95, 0.95), ("100%", 1.0), (np.float64(0.95), 0.95)]
)
def test_a_share_is_read(text: str | float, expected: float) -> None:
    assert units.parse_fraction(text) == expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_bytes, "64QB"),
        (units.parse_bytes, "-1"),
        (units.parse_bytes, 0),
        (units.parse_bytes, "0.3B"),
        (units.parse_bytes, ""),
        (units.parse_bytes, True),
        (units.parse_bytes, float("inf")),
        (units.parse_bytes, "20ms"),
        (units.parse_count, "1e3"),
        (units.parse_count, 2**64),
        (units.parse_count, 10**400),
        (units.parse_seconds, "99999999999999h"),
        (units.parse_milliseconds, "20 minutes"),
        (units.parse_fraction, "101%"),
        (units.parse_fraction, "0%"),
        (units.parse_fraction, float("nan")),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_received_and_what_is_accepted(
    parse: Callable[..., float], text: str | float
) -> None:
    with pytest.raises(UsageError, match="such as") as caught:
        parse(text, field="flash")
    assert repr(text) in caught.value.message
    assert caught.value.field == "flash"
    assert isinstance(caught.value, ValueError)


@given(number=st.integers(1, 10**9), unit=st.sampled_from(sorted(units.BYTES)), blank=st.sampled_from(["", " "]))
def test_every_size_survives_being_written_down(number: int, unit: str, blank: str) -> None:
    assert units.parse_bytes(f"{number}{blank}{unit}") == number * units.BYTES[unit]


@given(value=st.floats(1e-6, 1e12))
def test_every_number_is_taken_exactly(value: float) -> None:
    assert units.parse_milliseconds(value) == value


@given(percent=st.integers(1, 100))
def test_per_cent_is_a_hundredth(percent: int) -> None:
    assert units.parse_fraction(f"{percent}%") == percent / 100


@given(st.text(max_size=12))
def test_any_text_is_a_number_above_zero_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert units.parse_bytes(text) > 0
