"""Figures for people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secateur.client.cli import formats


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("flash_bytes", 65_536, "64 KiB"),
        ("flash_bytes", 1_023, "1,023 B"),
        ("ram_bytes", 1_023 * 1_024, "1,023 KiB"),
        ("flash_bytes", 12 * 2**30, "12 GiB"),
        ("latency_ms", 12.345, "12.3 ms"),
        ("latency_ms", 1_234.5, "1,234 ms"),
        ("accuracy", 0.9722, "97.2 %"),
        ("macs", 1_006_643.2, "1,006,643"),
        ("macs", 7.0, "7"),
        ("UNKNOWN(17)", 0.125, "0.125"),
    ],
)
def test_a_figure_has_its_unit(name: str, value: float, shown: str) -> None:
    assert formats.figure(name, value) == shown


def test_a_measurement_brings_its_own_unit() -> None:
    assert formats.figure("arena", 2_048, "bytes") == "2 KiB"
    assert formats.figure("energy", 0.25, "mJ") == "0.25 mJ"


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3_660, "1 h 01 min")])
def test_a_time_is_told_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert formats.duration(timedelta(seconds=seconds)) == shown
