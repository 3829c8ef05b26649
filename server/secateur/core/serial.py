"""Domain values to JSON-ready data and back, for the store, the worker's child process and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from cattrs.gen import make_dict_structure_fn
from cattrs.preconf.json import make_converter

_converter = make_converter(omit_if_default=False, forbid_extra_keys=True)
_T = TypeVar("_T")


def to_data(value: Any) -> Any:
    """Returns a domain value (dataclasses, enums, tuples, mappings) as JSON-ready data."""
    return _converter.unstructure(value)


def from_data(kind: type[_T], data: Any) -> _T:
    """Rebuilds a value of type `kind` from what `to_data` returned."""
    return _converter.structure(data, kind)


def read_older(kind: type[_T], today: Callable[[Any], Any]) -> None:
    """Makes `from_data` read values of `kind`, a dataclass, that an older version wrote, wherever they occur.

    Call it in the module that defines the first field of that kind, before anything is read.

    Args:
        kind: The dataclass.
        today: Returns what was written as `to_data` writes it today; what is of today it returns as it is.
    """
    structure = make_dict_structure_fn(kind, _converter, _cattrs_forbid_extra_keys=True)
    _converter.register_structure_hook(kind, lambda data, _: structure(today(data), kind))


def digest_of(data: Any) -> str:
    """Returns the SHA-256 of JSON-ready data in canonical form (sorted keys, no blanks), hexadecimal."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
