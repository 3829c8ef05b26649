"""Messages made from their descriptors: boundary values, near misses of the rules in the .proto files, and plain garbage."""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2

_DEEPEST: Final = 6
_MOST_ITEMS: Final = 40
_CARE: Final = (0.0, 0.5, 0.9, 1.0, 1.0)
"""Chance with which a value of a message keeps the rules of its field; one is drawn for each message."""

_TEXTS: Final = (
    "", " ", "a", "\0", "a\0b", "é", "\U0001f600", "\u202e", "a" * 63, "a" * 64, "a" * 70_000, "../../etc/passwd", "%s%n",
    "'; DROP TABLE jobs; --", "projects/-", "projects/a/jobs/", "datasets/digits", "deviceProfiles/stm32f746", "resnet20",
    "state = QUEUED", "NOT (" * 40, "labels.a = \"b\" AND (", "create_time desc", "null", "[]", "e30=", "W10=", "1e400", "nan",
)  # fmt: skip
_BY_NAME: Final[Mapping[str, Sequence[str]]] = {
    "filter": (
        "state = QUEUED AND labels.a = b", "NOT display_name:x OR end_time:*", "create_time > 2026-01-01T00:00:00Z", "labels:a",
        "accuracy > 0.5 AND (latency_ms < 1e9 OR arena_bytes:*)", "architecture = x", "attempt >= -9223372036854775807",
    ),
    "order_by": ("create_time", "create_time desc", "accuracy desc, latency_ms", "end_time, attempt desc"),
}  # fmt: skip
"""Texts for fields whose rules are in the code instead of the .proto files."""
_DOUBLES: Final = (0.0, -0.0, 0.5, 1.0, -1.0, 5e-324, 1e-8, 1e308, float("inf"), float("-inf"), float("nan"))

_RANGES: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64 - 1),
}


class MessageMaker:
    """Draws messages of any kind.

    Args:
        draw: Source of all randomness.
        texts: Texts that mean something to the server, such as names of what exists. A field with a pattern takes one that
            matches, so that many messages get past the validation.
    """

    def __init__(self, draw: random.Random, texts: Sequence[str]) -> None:
        self._draw = draw
        self._texts = texts
        self._matching: dict[str, list[str]] = {}
        self._care = 1.0

    def request(self, descriptor: Descriptor) -> bytes:
        """Returns a message on the wire: well-formed mostly, sometimes damaged, rarely nothing but noise."""
        if self._draw.random() < 0.03:
            return self._draw.randbytes(self._draw.choice((0, 1, 2, 10, 1000)))
        self._care = self._draw.choice(_CARE)
        wire = self._message(descriptor, 0).SerializeToString()
        return self._damaged(wire) if self._draw.random() < 0.1 else wire

    def _message(self, descriptor: Descriptor, depth: int) -> Message:
        message = GetMessageClass(descriptor)()
        fields = list(descriptor.fields)
        self._draw.shuffle(fields)  # of a oneof the last that is set stays
        for field in fields:
            wanted = _rules(field).required or bool(_kind_rules(field).ListFields()) or field.containing_oneof is not None
            if self._draw.random() < (0.95 if wanted else 0.4):
                self._fill(message, field, depth)
        return message

    def _fill(self, message: Any, field: Any, depth: int) -> None:
        if field.type == FieldDescriptor.TYPE_MESSAGE and depth >= _DEEPEST:
            return
        if not field.is_repeated:
            value = self._value(field, depth)
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                getattr(message, field.name).CopyFrom(value)
                getattr(message, field.name).SetInParent()
            else:
                setattr(message, field.name, value)
            return
        values = [self._value(field, depth) for _ in range(self._count(field))]
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            target = getattr(message, field.name)
            for entry in values:
                if field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
                    target[entry.key].CopyFrom(entry.value)
                else:
                    target[entry.key] = entry.value
        else:
            getattr(message, field.name).extend(values)

    def _count(self, field: FieldDescriptor) -> int:
        rules = _rules(field).repeated
        if self._careful():
            least, most = int(rules.min_items), int(rules.max_items) or _MOST_ITEMS
            return max(least, min(most, self._draw.choice((1, 1, 2, 3))))
        return min(_MOST_ITEMS, self._draw.choice((0, 1, 2, rules.min_items, rules.max_items, rules.max_items + 1)))

    def _value(self, field: Any, depth: int) -> Any:
        match field.type:
            case FieldDescriptor.TYPE_MESSAGE if (
                field.message_type.full_name == Duration.DESCRIPTOR.full_name and self._careful()
            ):
                return Duration(seconds=self._draw.choice((1, 60, 86_400)))
            case FieldDescriptor.TYPE_MESSAGE:
                return self._message(field.message_type, depth + 1)
            case FieldDescriptor.TYPE_STRING:
                return self._text(field)
            case FieldDescriptor.TYPE_BYTES:
                return self._draw.randbytes(self._draw.choice((0, 1, 100, 5000)))
            case FieldDescriptor.TYPE_BOOL:
                return self._draw.random() < 0.5
            case FieldDescriptor.TYPE_ENUM:
                known = [value.number for value in field.enum_type.values]
                return self._draw.choice(known[1:] if self._careful() else [*known, len(known) + 7, -1, 2**31 - 1])
            case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
                return self._double(field)
        return self._integer(field)

    def _text(self, field: FieldDescriptor) -> str:
        rules = _kind_rules(field)
        if not self._careful():
            text = self._draw.choice((self._draw.choice(_TEXTS), self._draw.choice(self._texts or _TEXTS)))
            return text + self._draw.choice(_TEXTS[:8]) if self._draw.random() < 0.3 else text
        if rules.uuid:
            return str(uuid.UUID(int=self._draw.getrandbits(6)))  # few, so that some are used twice
        if rules.pattern:
            if rules.pattern not in self._matching:
                known = (*_TEXTS, *self._texts)
                self._matching[rules.pattern] = [text for text in known if re.search(rules.pattern, text)]
            return self._draw.choice(self._matching[rules.pattern] or [""])
        likely = _BY_NAME.get(field.name, self._texts or _TEXTS)
        text = self._draw.choice(("", self._draw.choice(likely), self._draw.choice(likely), self._draw.choice(_TEXTS)))
        return text[: rules.max_len] if rules.max_len else text

    def _integer(self, field: FieldDescriptor) -> int:
        least, most = _RANGES[field.type]
        bounds = [int(bound) for bound in _bounds(field) if least <= bound <= most]
        if self._careful():
            low, high = (min(bounds), max(bounds)) if len(bounds) > 1 else (bounds or [0]) * 2
            return self._draw.choice((low, high, self._draw.randint(low, high), min(max(1, low), most)))
        near = [bound + step for bound in (*bounds, 0, 1) for step in (-1, 0, 1)]
        return self._draw.choice([number for number in (least, most, *near) if least <= number <= most])

    def _double(self, field: FieldDescriptor) -> float:
        bounds = list(_bounds(field))
        if self._careful():
            return self._draw.choice((0.5, 1.0, 1000.0, 100_000.0)) if len(bounds) < 2 else self._draw.uniform(*sorted(bounds))
        return self._draw.choice((*_DOUBLES, *bounds, *(bound * 1.001 for bound in bounds), self._draw.uniform(-1e6, 1e6)))

    def _careful(self) -> bool:
        return self._draw.random() < self._care

    def _damaged(self, wire: bytes) -> bytes:
        start = self._draw.randrange(len(wire) + 1)
        end = start + self._draw.choice((0, 1, 1, 5, len(wire)))
        return wire[:start] + self._draw.choice((b"", self._draw.randbytes(1), 2 * wire[start:end])) + wire[end:]


def _rules(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def _kind_rules(field: FieldDescriptor) -> Any:
    """Returns the rules for one value of the field: `string`, `uint32` and so on; of a repeated field those of its items."""
    rules = _rules(field)
    if field.is_repeated:
        rules = rules.repeated.items
    kind = rules.WhichOneof("type")
    return getattr(rules, kind) if kind else rules.string


def _bounds(field: FieldDescriptor) -> Iterator[float]:
    rules = _kind_rules(field)
    for name in ("gt", "gte", "lt", "lte"):
        if name in rules.DESCRIPTOR.fields_by_name and rules.HasField(name):
            yield getattr(rules, name)


def texts_of(message: Message) -> Iterator[str]:
    """Yields every text in a message."""
    for field, value in message.ListFields():
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE) or is_map:
            continue
        for item in value if field.is_repeated else (value,):
            if isinstance(item, str):
                yield item
            else:
                yield from texts_of(item)
