"""Recovery: jobs whose worker fell silent and messages that the queue lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from secateur.core.jobs import JobState
from secateur.store.journal import Journal
from secateur.store.records import Reaped
from secateur.store.tables import JobRow, OutboxRow

RESEND_AFTER: Final = timedelta(minutes=5)
"""How long a sent message may go unclaimed before it is sent again. A second message for a waiting job is harmless."""

_BATCH: Final = 100


def reap(session: Session, journal: Journal, now: datetime, resend_after: timedelta) -> Reaped:
    """Gives up attempts whose lease has run out, and owes the queue anew what it seems to have lost.

    Args:
        session: Session of the transaction.
        journal: Moves jobs in the same transaction.
        now: Current time; leases that end before it have run out.
        resend_after: How long a sent message may go unclaimed.

    Returns:
        What was done, at most a hundred jobs of each kind; the next call does the rest.
    """
    ended = {
        job.id: journal.give_back(job, f"The worker {job.lease_owner} fell silent")
        for job in session.scalars(
            select(JobRow)
            .where(JobRow.state == JobState.RUNNING, JobRow.lease_expires < now)
            .order_by(JobRow.lease_expires)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)  # a locked row is in good hands
        ).all()
    }
    return Reaped(ended=ended, resent=_resend(session, journal, now - resend_after))


def _resend(session: Session, journal: Journal, sent_before: datetime) -> tuple[str, ...]:
    on_its_way = exists().where(
        OutboxRow.job_id == JobRow.id, or_(OutboxRow.sent_time.is_(None), OutboxRow.sent_time >= sent_before)
    )
    lost = session.scalars(
        select(JobRow)
        .where(JobRow.state == JobState.QUEUED, ~on_its_way)
        .order_by(JobRow.create_time)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    for job in lost:
        journal.owe_message(job)
    return tuple(job.id for job in lost)
