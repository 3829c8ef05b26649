"""Checks messages against the protovalidate rules in the .proto files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from secateur.server.errors import RequestInvalid
from secateur.server.patterns import in_words

_LONGEST_ECHO: Final = 80
"""Characters of a refused value that an error repeats."""


def check(message: Message) -> None:
    """Refuses a message that breaks a rule of its .proto file, or text with a NUL, which PostgreSQL cannot keep.

    Raises:
        RequestInvalid: Naming every broken rule and its field.
    """
    violations = [(_path(violation), _description(violation)) for violation in protovalidate.collect_violations(message)]
    # The second condition is rarely true, and much faster than looking into every field. Fields of bytes may hold a NUL.
    if _holds_text(message) and b"\0" in message.SerializeToString():
        violations += [(path, "must not contain NUL") for path in _with_nul(message)]
    if violations:
        raise RequestInvalid(violations)


def _holds_text(message: Message) -> bool:
    return any(
        len(getattr(message, field.name))
        if field.is_repeated
        else message.HasField(field.name)
        if field.has_presence
        else bool(getattr(message, field.name))
        for field in _texts(message.DESCRIPTOR)
    )


@cache
def _texts(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """Returns the fields that may hold text."""
    return tuple(field for field in descriptor.fields if field.type in (field.TYPE_STRING, field.TYPE_MESSAGE))


def _with_nul(message: Message, prefix: str = "") -> Iterator[str]:
    for field, value in message.ListFields():
        path = prefix + field.name
        if field not in _texts(message.DESCRIPTOR):
            continue
        if isinstance(value, Mapping):
            values = {f"{path}[{key!r}]": item for key, item in value.items()}
            yield from (f"{path}[{key!r}]" for key in value if "\0" in str(key))
        elif field.is_repeated:
            values = {f"{path}[{index}]": item for index, item in enumerate(value)}
        else:
            values = {path: value}
        for where, item in values.items():
            if isinstance(item, Message):
                yield from _with_nul(item, f"{where}.")
            elif isinstance(item, str) and "\0" in item:
                yield where


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
    rule = in_words(violation.rule_value) if violation.proto.rule_id == "string.pattern" else violation.proto.message
    return f"{rule}. Received: {str(value)[:_LONGEST_ECHO]!r}" if isinstance(value, str | int | float) else rule
