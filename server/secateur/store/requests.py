"""Idempotency keys: which request was already answered, and with what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from secateur.core.errors import InvalidArgument
from secateur.store.database import exclude_others
from secateur.store.tables import RequestRow

_UNSYNCHRONISED: Final = {"synchronize_session": False}  # nobody reads a key again in the same transaction


class RequestKeys:
    """Reads and writes idempotency keys inside one transaction. An empty key stands for no key.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock

    def hold(self, project: str, method: str, request_id: str) -> None:
        """Waits until nobody else answers a request with this key, and keeps others waiting until the transaction ends."""
        if request_id:
            exclude_others(self._session, f"requests/{project}/{method}/{request_id}")

    def answer(self, project: str, method: str, request_id: str, fingerprint: str) -> str | None:
        """Returns the id of the resource that a request with this key was answered with; None if there was none.

        Args:
            project: Project of the request.
            method: Method that was called.
            request_id: The key.
            fingerprint: Digest of the request.

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
        """
        request = self._session.get(RequestRow, (project, method, request_id)) if request_id else None
        if request is None:
            return None
        if request.fingerprint != fingerprint:
            raise InvalidArgument(
                "REQUEST_ID_REUSED",
                f"This request_id was used for another request; take a new one. Received: {request_id}",
                field="request_id",
            )
        return request.resource_id

    def forget(self, before: datetime, most: int) -> int:
        """Forgets up to `most` keys that were used before a moment, and returns how many."""
        old = select(RequestRow.project, RequestRow.method, RequestRow.request_id).where(RequestRow.create_time < before)
        keys = tuple_(RequestRow.project, RequestRow.method, RequestRow.request_id)
        statement = delete(RequestRow).where(keys.in_(old.limit(most))).returning(RequestRow.request_id)
        return len(self._session.execute(statement, execution_options=_UNSYNCHRONISED).all())

    def remember(self, project: str, method: str, request_id: str, fingerprint: str, resource_id: str) -> None:
        """Keeps what a request with this key was answered with; see `answer`."""
        if request_id:
            self._session.add(
                RequestRow(
                    project=project,
                    method=method,
                    request_id=request_id,
                    fingerprint=fingerprint,
                    resource_id=resource_id,
                    create_time=self._clock(),
                )
            )
