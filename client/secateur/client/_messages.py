"""Messages from what the caller gave: the one place that turns protobuf's refusals into errors that name the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from secateur.client.errors import UsageError

REFUSALS: Final = (TypeError, ValueError, OverflowError)
"""What protobuf raises for a value that a field cannot hold; text that is not UTF-8 is a ValueError."""

_KINDS: Final = {
    FieldDescriptor.CPPTYPE_UINT32: "a whole number, 0 or more and of at most 32 bits",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number, 0 or more and of at most 64 bits",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_STRING: "text that UTF-8 can write",
    FieldDescriptor.CPPTYPE_MESSAGE: "a mapping of text to text that UTF-8 can write",  # labels: the one message that is given
}
"""What fields take that a caller fills."""

_P = ParamSpec("_P")
_MessageT = TypeVar("_MessageT", bound=Message)


def made(kind: Callable[_P, _MessageT], /, *_: _P.args, **values: _P.kwargs) -> _MessageT:
    """Returns a message of a kind with these values.

    Raises:
        UsageError: If a field cannot hold its value: a number out of range, a value of another type, text that is not UTF-8.
    """
    try:
        return kind(*_, **values)
    except REFUSALS:
        for name, value in values.items():  # protobuf itself does not tell which
            try:
                kind(*_, **{name: value})  # type: ignore[arg-type]
            except REFUSALS:
                raise refused(cast("type[Message]", kind), name, value) from None
        raise


def refused(kind: type[Message] | Message, name: str, value: object, reason: str = "VALUE_INVALID") -> UsageError:
    """Returns the error for a value that a field of a kind of message cannot hold."""
    field = kind.DESCRIPTOR.fields_by_name[name]
    accepted = _KINDS[field.cpp_type]
    if field.is_repeated and field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
        accepted = f"a list, each item {accepted}"
    return UsageError(reason, f"{name} must be {accepted}. Received: {value!r}", field=name)
