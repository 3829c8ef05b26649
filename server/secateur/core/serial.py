"""Domain values to JSON-ready data and back, for the store, the worker's child process and digests."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from cattrs.preconf.json import make_converter

_converter = make_converter(omit_if_default=False, forbid_extra_keys=True)
_T = TypeVar("_T")


def to_data(value: Any) -> Any:
    """Returns a domain value (dataclasses, enums, tuples, mappings) as JSON-ready data."""
    return _converter.unstructure(value)


def from_data(kind: type[_T], data: Any) -> _T:
    """Rebuilds a value of type `kind` from what `to_data` returned."""
    return _converter.structure(data, kind)


def digest_of(data: Any) -> str:
    """Returns the SHA-256 of JSON-ready data in canonical form (sorted keys, no blanks), hexadecimal."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
