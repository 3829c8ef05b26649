"""Sizes, counts, frequencies, times and shares as people write them: "64KiB", "1.5M", "216MHz", "20ms", "50%".

Numbers without a unit are bytes, counts, hertz, milliseconds (a device's latency) or seconds (a time to wait). Parsing never
rounds: a size or a count that is no whole number is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from secateur.client.errors import UsageError

BYTES: Final = {
    "B": 1,
    "kB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
"""Units of size, in bytes."""

COUNTS: Final = {"k": 10**3, "M": 10**6, "G": 10**9}
"""Units of a count."""

HERTZ: Final = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
"""Units of a frequency, in hertz."""

MILLISECONDS: Final = {"us": Decimal("0.001"), "ms": Decimal(1), "s": Decimal(1000)}
"""Units of a latency, in milliseconds."""

SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
"""Units of a time to wait, in seconds."""

_MOST: Final = 2**64 - 1
"""Largest size, count or frequency: what the service's messages hold."""

_MOST_SECONDS: Final = 315_576_000_000
"""Longest time: the 10,000 years of protobuf's Duration."""

_NUMBER = re.compile(r"\s*(?P<number>\d+(?:_\d+)*(?:\.\d+)?|\.\d+)\s*(?P<unit>[A-Za-z%µ]*)\s*", re.ASCII | re.IGNORECASE)


def parse_bytes(text: str | float, *, field: str = "") -> int:
    """Returns a size in bytes: "64KiB" is 65536, "64kB" is 64000, a bare number is bytes.

    Args:
        text: What was written.
        field: Name of the argument, for the error.

    Raises:
        UsageError: If it is no size, not above zero, too large for the service to hold, or no whole number of bytes.
    """
    return _whole(text, BYTES, field, "a size such as 65536, 64KiB, 64kB or 1MiB")


def parse_count(text: str | float, *, field: str = "") -> int:
    """Returns a count: "1.5M" is 1500000. Raises UsageError as `parse_bytes` does."""
    return _whole(text, COUNTS, field, "a count such as 50000, 50k or 1.5M")


def parse_hertz(text: str | float, *, field: str = "") -> int:
    """Returns a frequency in hertz: "216MHz" is 216000000, a bare number is hertz. Raises UsageError as `parse_bytes` does."""
    return _whole(text, HERTZ, field, "a frequency such as 216MHz, 1.5GHz or 64000000")


def parse_milliseconds(text: str | float, *, field: str = "") -> float:
    """Returns a latency in milliseconds: "20ms" and 20 are 20.0, "0.5s" is 500.0. Raises UsageError as `parse_bytes` does."""
    return float(_parse(text, MILLISECONDS, field, "a latency such as 20, 20ms, 0.5s or 800us"))


def parse_seconds(text: str | float, *, field: str = "") -> float:
    """Returns a time in seconds: "10m" is 600.0, a bare number is seconds. Raises UsageError as `parse_bytes` does."""
    return float(_parse(text, SECONDS, field, "a time such as 90, 90s, 10m or 1h", _MOST_SECONDS))


def parse_fraction(text: str | float, *, field: str = "") -> float:
    """Returns a share of one: "95%" and 0.95 are 0.95.

    Raises:
        UsageError: If it is no share, or not above 0 and at most 1.
    """
    accepted = "a share above 0 and at most 1, such as 0.95 or 95%"
    fraction = _parse(text, {"%": Decimal("0.01")}, field, accepted)
    if fraction > 1:
        raise _refused(text, field, accepted)
    return float(fraction)


def is_relative(text: str | float) -> bool:
    """Whether a bound is written as a share of the unpruned network: "50%"."""
    return isinstance(text, str) and text.rstrip().endswith("%")


def _whole(text: str | float, units: Mapping[str, int], field: str, accepted: str) -> int:
    value = _parse(text, {unit: Decimal(factor) for unit, factor in units.items()}, field, accepted)
    if value != value.to_integral_value():
        raise _refused(text, field, accepted)
    return int(value)


def _parse(text: str | float, units: Mapping[str, Decimal], field: str, accepted: str, most: int = _MOST) -> Decimal:
    """Reads a number and its unit exactly; units are matched in any case where that is unambiguous."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise _refused(text, field, accepted)
    # repr() of a float (a NumPy one has its own) is its shortest exact form; "f" writes it without an exponent
    exact = repr(float(text)) if isinstance(text, float) else text
    match = _NUMBER.fullmatch(text if isinstance(text, str) else format(Decimal(exact), "f"))
    if match is None:
        raise _refused(text, field, accepted)
    written = match["unit"].replace("µ", "u")
    folded = {unit.lower(): factor for unit, factor in units.items()}
    factor = Decimal(1) if not written else folded.get(written.lower())
    value = Decimal(match["number"].replace("_", "")) * factor if factor is not None else Decimal(0)
    if value <= 0:
        raise _refused(text, field, accepted)
    if value > most:
        raise _refused(text, field, f"{accepted}, at most {most}")
    return value


def _refused(text: object, field: str, accepted: str) -> UsageError:
    return UsageError("VALUE_INVALID", f"{field or 'The value'} must be {accepted}. Received: {text!r}", field=field)
