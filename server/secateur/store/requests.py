"""Idempotency keys: which request was already answered, and with what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from secateur.core.errors import InvalidArgument
from secateur.store.database import add_rows, is_among
from secateur.store.tables import RequestRow

_KEY: Final = RequestRow.project, RequestRow.method, RequestRow.request_id
_UNSYNCHRONISED: Final = {"synchronize_session": False}  # nobody reads a key again in the same transaction


class RequestKey(NamedTuple):
    """What an idempotency key is known by: a project, a method, and the key itself, empty for none."""

    project: str
    method: str
    request_id: str

    @property
    def lock(self) -> str:
        """Name of the lock that is held while a request with this key is answered."""
        return f"requests/{self.project}/{self.method}/{self.request_id}"


class _Answer(NamedTuple):
    fingerprint: str
    resource_id: str


class RequestKeys:
    """Reads and writes idempotency keys inside one transaction. An empty key stands for no key.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock
        self._known: dict[RequestKey, _Answer | None] = {}
        self._new: list[dict[str, Any]] = []

    def read(self, keys: Iterable[RequestKey]) -> None:
        """Looks up many keys at once, so that `answer` need not look up each."""
        asked = [key for key in keys if key.request_id]
        self._known |= dict.fromkeys(asked)
        found = self._session.execute(select(RequestRow.__table__).where(is_among(_KEY, asked))) if asked else ()
        self._known |= {
            RequestKey(row.project, row.method, row.request_id): _Answer(row.fingerprint, row.resource_id) for row in found
        }

    def answer(self, key: RequestKey, fingerprint: str) -> str | None:
        """Returns the id of the resource that a request with this key was answered with; None if there was none.

        Args:
            key: The key.
            fingerprint: Digest of the request.

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
        """
        if key not in self._known:
            self.read([key])
        request = self._known.get(key)
        if request is None:
            return None
        if request.fingerprint != fingerprint:
            raise InvalidArgument(
                "REQUEST_ID_REUSED",
                f"This request_id was used for another request; take a new one. Received: {key.request_id}",
                field="request_id",
            )
        return request.resource_id

    def forget(self, before: datetime, most: int) -> int:
        """Forgets up to `most` keys that were used before a moment, and returns how many."""
        old = self._session.execute(select(*_KEY).where(RequestRow.create_time < before).limit(most)).all()
        statement = delete(RequestRow).where(is_among(_KEY, old)).returning(RequestRow.request_id)
        return len(self._session.execute(statement, execution_options=_UNSYNCHRONISED).all())

    def remember(self, key: RequestKey, fingerprint: str, resource_id: str) -> None:
        """Keeps what a request with this key was answered with; see `answer`. It is written with the commit."""
        if key.request_id:
            self._known[key] = answer = _Answer(fingerprint, resource_id)
            self._new.append({**key._asdict(), **answer._asdict(), "create_time": self._clock()})

    def write(self) -> None:
        """Writes what is to be remembered, all at once."""
        if self._new:
            add_rows(self._session, RequestRow, self._new)
            self._new = []
