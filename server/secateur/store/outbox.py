"""The outbox: messages that the queue is owed, written with the change that causes them and sent after its commit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from secateur.core.routing import Need
from secateur.store.records import OutboxRecord
from secateur.store.tables import JobRow, OutboxRow
from secateur.store.turns import waits_for


class OutboxRepository:
    """Reads and marks messages inside one transaction.

    A message may be sent twice: by two relays at once, or again after a crash between sending and marking. That is harmless,
    since the job's row decides who runs.

    Args:
        session: Session of the transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def unsent(self, need: Need, limit: int) -> tuple[OutboxRecord, ...]:
        """Returns up to `limit` messages for the queue of a need that were not sent yet, oldest first."""
        rows = self._session.execute(
            select(OutboxRow.id, OutboxRow.job_id)
            .join(JobRow, JobRow.id == OutboxRow.job_id)
            .where(OutboxRow.sent_time.is_(None), waits_for(need))
            .order_by(OutboxRow.id)
            .limit(limit)
        )
        return tuple(OutboxRecord(*row) for row in rows)

    def mark_sent(self, ids: Iterable[int], now: datetime) -> None:
        """Remembers that messages were sent. One whose job has left the queue meanwhile is gone, and stays so."""
        # What is locked is just being deleted, by somebody who may wait for another of these: never wait for it.
        there = (
            select(OutboxRow.id).where(OutboxRow.id.in_(tuple(ids))).order_by(OutboxRow.id).with_for_update(skip_locked=True)
        )
        marked = self._session.scalars(there).all()
        self._session.execute(update(OutboxRow).where(OutboxRow.id.in_(marked)).values(sent_time=now))
