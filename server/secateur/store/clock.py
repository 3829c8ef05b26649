"""The one clock: the database's. Servers and workers on several machines never agree on the time, so none of them is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import DateTime, func, select
from sqlalchemy.orm import Session


def utc_now() -> datetime:
    """Returns the time of this machine, aware, for what is not part of a transaction."""
    return datetime.now(UTC)


class DatabaseClock:
    """The time of a transaction: read from the database when it is first asked for, and the same until `restart`.

    On SQLite everybody is on one machine; its clock is the database's.

    Args:
        session: Session of the transaction.
        instead: What to ask instead of the database; returns the current time, aware.
    """

    def __init__(self, session: Session, instead: Callable[[], datetime] | None = None) -> None:
        self._session = session
        self._instead = instead
        self._time: datetime | None = None

    def __call__(self) -> datetime:
        """Returns the time of the transaction, aware, in UTC."""
        if self._instead is not None:
            return self._instead()
        # Not a cached_property: until Python 3.12 those of all threads share a lock, and this one may wait for the database.
        if self._time is None:
            self._time = self._read()
        return self._time

    def restart(self) -> None:
        """Makes the next call read the time again.

        Call it once rows are locked: what others did to them then counts as earlier than what this transaction does.
        """
        self._time = None

    def _read(self) -> datetime:
        if self._session.get_bind().dialect.name == "postgresql":
            # Not now(), which is when the transaction began: it may have waited for a lock since.
            time: datetime = self._session.execute(select(func.clock_timestamp(type_=DateTime(timezone=True)))).scalar_one()
            return time.astimezone(UTC)
        text: str = self._session.execute(select(func.strftime("%Y-%m-%dT%H:%M:%f", "now"))).scalar_one()
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
