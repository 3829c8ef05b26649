"""The audit log: who has changed what, and when. Rows are only ever appended, until they are old enough to go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import Session

from secateur.store.database import add_rows
from secateur.store.records import AuditRecord
from secateur.store.tables import AuditRow


class AuditRepository:
    """Reads and writes the audit log inside one transaction.

    Args:
        session: Session of the transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, records: Iterable[AuditRecord]) -> None:
        """Appends records."""
        if rows := [asdict(record) for record in records]:
            add_rows(self._session, AuditRow, rows)

    def list(
        self, *, project: str | None = None, token: str | None = None, since: datetime | None = None, limit: int
    ) -> tuple[AuditRecord, ...]:
        """Returns the newest records, newest first.

        Args:
            project: Only of this project.
            token: Only of the token with this id.
            since: Only from this time on.
            limit: Most records.
        """
        statement = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if project is not None:
            statement = statement.where(AuditRow.project == project)
        if token is not None:
            statement = statement.where(AuditRow.token == token)
        if since is not None:
            statement = statement.where(AuditRow.time >= since)
        return tuple(
            AuditRecord(
                time=row.time,
                token=row.token,
                project=row.project,
                method=row.method,
                resource=row.resource,
                code=row.code,
                request_id=row.request_id,
            )
            for row in self._session.scalars(statement)
        )

    def prune(self, before: datetime, most: int) -> int:
        """Deletes up to `most` records from before a time, and returns how many."""
        old = select(AuditRow.id).where(AuditRow.time < before).limit(most)
        deleted = self._session.execute(delete(AuditRow).where(AuditRow.id.in_(old)))
        return cast("CursorResult[Any]", deleted).rowcount
