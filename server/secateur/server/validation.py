"""Checks messages against the protovalidate rules in the .proto files."""

from __future__ import annotations

from typing import Final

import protovalidate
from google.protobuf.message import Message

from secateur.server.errors import RequestInvalid

_LONGEST_ECHO: Final = 80
"""Characters of a refused value that an error repeats."""


def check(message: Message) -> None:
    """Refuses a message that breaks a rule of its .proto file.

    Raises:
        RequestInvalid: Naming every broken rule and its field.
    """
    violations = protovalidate.collect_violations(message)
    if violations:
        raise RequestInvalid([(_path(violation), _description(violation)) for violation in violations])


def _path(violation: protovalidate.Violation) -> str:
    path = violation.proto.field
    if path is None:  # a rule on the message as a whole
        return ""
    return ".".join(_segment(element) for element in path.elements)


def _segment(element: protovalidate.FieldPathElementPb) -> str:
    if element.subscript is None:
        return element.field_name
    key = element.subscript.value
    return f"{element.field_name}[{key}]" if isinstance(key, int) else f'{element.field_name}["{key}"]'


def _description(violation: protovalidate.Violation) -> str:
    value = violation.field_value
    if not isinstance(value, str | int | float):
        return violation.proto.message
    return f"{violation.proto.message}. Received: {str(value)[:_LONGEST_ECHO]!r}"
