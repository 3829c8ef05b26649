"""Column types that read and write the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Enum, Integer, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

_E = TypeVar("_E", bound=StrEnum)

JsonData: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON; None is SQL NULL."""

SerialKey: Final = BigInteger().with_variant(Integer(), "sqlite")
"""Key that the database counts up; SQLite does so only for a column of type INTEGER."""


def key(length: int) -> TypeEngine[str]:
    """Returns the column type of text that names something. Its order is that of the code points, as in Python and on SQLite.

    Without the collation PostgreSQL would order by the language of the database, and differently after an upgrade of the
    operating system.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class FreeText(TypeDecorator[str]):
    """Text for people that may come from anywhere, for example a library's message about a file whose name is not valid text.

    Neither database can store a lone surrogate (half a character), nor PostgreSQL a NUL: both are replaced.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Replaces what cannot be kept."""
        if value is None:
            return None
        return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept and returned in UTC. SQLite drops the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turns an aware time into UTC.

        Raises:
            ValueError: If the time has no zone: its meaning would depend on the machine.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A stored time needs a zone; use datetime.now(UTC). Received: {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Returns the time as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def enum_by_value(kind: type[_E]) -> Enum:
    """Returns the column type of an enum, kept as its value in a plain string: a new member needs no migration."""
    return Enum(kind, native_enum=False, length=32, values_callable=lambda members: [member.value for member in members])
