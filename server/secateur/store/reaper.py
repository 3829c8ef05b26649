"""Recovery: jobs whose worker fell silent, jobs that took too long, and messages that the queue lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from secateur.core.jobs import JobState
from secateur.core.routing import Need
from secateur.store.journal import Journal
from secateur.store.records import Reaped
from secateur.store.tables import JobRow, OutboxRow
from secateur.store.turns import waits_for

RESEND_AFTER: Final = timedelta(minutes=1)
"""How long a sent message may go unclaimed before it is sent again. A second message for a waiting job is harmless."""

RUN_TIME_EXCEEDED: Final = "RUN_TIME_EXCEEDED"
"""Reason of a job whose attempt ran longer than it may."""
PENDING_TIME_EXCEEDED: Final = "PENDING_TIME_EXCEEDED"
"""Reason of a job that waited longer for a worker than it may."""

_OVERRUN: Final = timedelta(seconds=30)
"""How much later than the worker, which knows best, the reaper ends an attempt that runs for too long."""
_BATCH: Final = 100


def reap(session: Session, journal: Journal, now: datetime, resend_after: timedelta, *, give_up: bool = True) -> Reaped:
    """Gives up attempts whose lease has run out, ends jobs that took too long, and owes the queue anew what it lost.

    Args:
        session: Session of the transaction.
        journal: Moves jobs in the same transaction.
        now: Current time; leases that end before it have run out.
        resend_after: How long a sent message may go unclaimed.
        give_up: Whether silent workers lose their jobs. False just after a time in which no worker could renew its lease.

    Returns:
        What was done, at most a hundred jobs of each kind; the next call does the rest.
    """
    ended = {
        job.id: journal.give_back(job, f"The worker {job.lease_owner} fell silent")
        for job in (_jobs(session, journal, JobState.RUNNING, JobRow.lease_expires, now) if give_up else [])
    }
    expired = []
    for job in _jobs(session, journal, JobState.RUNNING, JobRow.run_deadline, now - _OVERRUN):
        journal.move(job, JobState.EXPIRED, "Ran longer than it may", reason=RUN_TIME_EXCEEDED)
        expired.append(job.id)
    for job in _jobs(session, journal, JobState.QUEUED, JobRow.pending_deadline, now):
        message = f"Waited longer than {job.max_pending_seconds:g} s for a worker"
        journal.move(job, JobState.EXPIRED, message, reason=PENDING_TIME_EXCEEDED)
        expired.append(job.id)
    resent = [job_id for need in Need for job_id in _resend(session, journal, now, resend_after, need)]
    return Reaped(ended=ended, resent=tuple(resent), expired=tuple(expired))


def _jobs(
    session: Session, journal: Journal, state: JobState, deadline: InstrumentedAttribute[datetime | None], now: datetime
) -> list[JobRow]:
    jobs = session.scalars(
        select(JobRow)
        .where(JobRow.state == state, deadline < now)
        .order_by(deadline)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)  # a locked row is in good hands
    ).all()
    journal.locked()
    return list(jobs)


def _resend(session: Session, journal: Journal, now: datetime, resend_after: timedelta, need: Need) -> list[str]:
    """Owes the queue of a need as many messages as may be lost, but no more than it takes to wake every worker there is.

    Workers go on until no job is left for them, so only idle ones need messages. Without the bound a long queue would be sent
    anew again and again while all workers are busy.
    """
    is_on_its_way = or_(OutboxRow.sent_time.is_(None), OutboxRow.sent_time >= now - resend_after)
    some = (
        select(OutboxRow.job_id)
        .join(JobRow, JobRow.id == OutboxRow.job_id)
        .where(waits_for(need), is_on_its_way)
        .limit(_BATCH)  # how many more does not matter, and there may be a hundred thousand
        .subquery()
    )
    on_their_way = session.scalars(select(func.count()).select_from(some)).one()
    if on_their_way >= _BATCH:
        return []
    lost = session.scalars(
        select(JobRow)
        .where(
            JobRow.state == JobState.QUEUED,
            waits_for(need),
            or_(JobRow.retry_time.is_(None), JobRow.retry_time <= now),
            ~exists().where(OutboxRow.job_id == JobRow.id, is_on_its_way),
        )
        .order_by(JobRow.create_time)
        .limit(_BATCH - on_their_way)
        .with_for_update(skip_locked=True)
    ).all()
    for job in lost:
        journal.owe_message(job)
    return [job.id for job in lost]
