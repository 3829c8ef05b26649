"""Values as JSON-ready data: what `--json` prints and what lies beside a downloaded model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta


def to_data(value: object) -> object:
    """Returns values, mappings, sequences, times (ISO 8601) and durations (seconds) as JSON-ready data."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_data(getattr(value, field.name)) for field in fields(value)}
    match value:
        case Mapping():
            return {str(key): to_data(item) for key, item in value.items()}
        case tuple() | list():
            return [to_data(item) for item in value]
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    return value
