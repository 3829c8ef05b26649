"""Figures for people: "58.2 KiB", "1,234", "12.3 ms", "97.2 %"."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

_SHARES: Final = ("accuracy", "_agreement", "_share")
"""Endings of the names of figures that are shares of one."""


def figure(name: str, value: float, unit: str = "") -> str:
    """Returns a figure with its unit.

    Args:
        name: What it is, for example "flash_bytes"; its end tells the unit where `unit` does not.
        value: The figure.
        unit: Its unit, if known.
    """
    if unit == "bytes" or name.endswith("_bytes"):
        return size(value)
    if unit == "ms" or name.endswith("_ms"):
        return f"{value:,.3g} ms" if value < 100 else f"{value:,.0f} ms"
    if name.endswith(_SHARES):
        return percent(value)
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f} {unit}".rstrip()
    return f"{value:,.4g} {unit}".rstrip()


def size(value: float) -> str:
    """Returns a size: exact below 1 KiB, else with four digits."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= factor:
            scaled = value / factor
            return f"{scaled:,.0f} {unit}" if scaled >= 1000 else f"{scaled:.4g} {unit}"
    return f"{value:,.0f} B"


def percent(share: float) -> str:
    """Returns a share of one as per cent."""
    return f"{100 * share:.1f} %"


def duration(time: timedelta) -> str:
    """Returns a time in the two largest of hours, minutes and seconds."""
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def short_name(name: str) -> str:
    """Returns the last part of a resource's name, which commands take in its place."""
    return name.rpartition("/")[2]
