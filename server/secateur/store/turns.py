"""Whose turn it is: the order in which the jobs that wait are started, and where a job stands in it.

Higher priority first. Among equals the project with the fewest running jobs, then the one whose last start is longest ago,
then the oldest job. So projects take turns however many jobs each has waiting, and a project with long jobs holds no more
workers than the others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, func, or_, select
from sqlalchemy.orm import Session

from secateur.core.jobs import JobState
from secateur.core.routing import Need
from secateur.store.database import exclude_others
from secateur.store.tables import JobRow, TurnRow

_HISTORY: Final = 20
"""Ended jobs whose run times an estimate goes by."""
_MOST_HELD: Final = 300
"""Most waiting jobs that other transactions hold locked at one time: a reaper up to so many, a call of a user one."""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a job that waits stands among those of its `need`: 1 is next.

    `start_time` is a guess from the latest run times, None without any.
    """

    need: Need
    position: int
    start_time: datetime | None


def waits_for(need: Need) -> ColumnElement[bool]:
    """Returns the condition for jobs that wait for a worker of a need. A job of an older release has none: it counts as CPU."""
    return JobRow.need == need if need is not Need.CPU else or_(JobRow.need == need, JobRow.need.is_(None))


def take_next(session: Session, now: datetime, needs: Collection[Need], max_running: int | None) -> JobRow | None:
    """Returns the job whose turn it is, locked, and notes the turn of its project; None if none may start now.

    One claim at a time looks for it, or two would both see a project's last free place.

    Args:
        session: Session of the transaction.
        now: Current time.
        needs: What the job may need.
        max_running: Most jobs of one project that run at once; None for any number.
    """
    exclude_others(session, "turns")
    running = _running_by_project()
    # Their ids alone: whole rows, sorted by the hundred thousand, would be written to the disk and read again.
    in_turn = session.scalars(
        _in_turn(select(JobRow.id), running)
        .where(
            JobRow.state == JobState.QUEUED,
            _needs_one_of(needs),
            or_(JobRow.retry_time.is_(None), JobRow.retry_time <= now),
            *(() if max_running is None else (func.coalesce(running.c.jobs, 0) < max_running,)),
        )
        .order_by(JobRow.create_time, JobRow.id)
        .limit(_MOST_HELD + 1)
    ).all()
    for job_id in in_turn:
        job = session.scalars(
            select(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.QUEUED)
            # Whoever else holds the row is cancelling, expiring or announcing the job.
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if job is not None:
            session.merge(TurnRow(project=job.project, time=now))
            return job
    return None


def place_of(session: Session, job: JobRow, now: datetime) -> QueuePlace:
    """Returns where a job that waits stands among those that need what it needs, as if nobody came after it.

    Args:
        session: Session of the transaction.
        job: The job; it is QUEUED.
        now: Current time.
    """
    waits = (JobRow.state == JobState.QUEUED, JobRow.need == job.need)
    higher = session.scalars(select(func.count()).where(*waits, JobRow.priority > job.priority)).one()
    earlier = (JobRow.create_time < job.create_time) | ((JobRow.create_time == job.create_time) & (JobRow.id < job.id))
    own = session.scalars(
        select(func.count()).where(*waits, JobRow.priority == job.priority, JobRow.project == job.project, earlier)
    ).one()
    running = _running_by_project()
    counts = select(JobRow.project, func.count()).where(*waits, JobRow.priority == job.priority)
    by_project = session.execute(
        _in_turn(counts, running).group_by(JobRow.project, JobRow.priority, running.c.jobs, TurnRow.time)
    ).all()
    projects = [project for project, _ in by_project]
    mine = projects.index(job.project)
    # Each turn of the own project comes after one of each that goes before it, and after one fewer of the others.
    others = sum(min(count, own + (index < mine)) for index, (_, count) in enumerate(by_project) if index != mine)
    position = 1 + higher + own + others
    return QueuePlace(job.need or Need.CPU, position, _start_time(session, job.need, position, now))


def waiting(session: Session) -> dict[Need, int]:
    """Returns how many jobs wait for a worker of each need."""
    need = func.coalesce(JobRow.need, Need.CPU)  # one for both: to PostgreSQL, a parameter that comes twice is two
    counts = select(need, func.count()).where(JobRow.state == JobState.QUEUED).group_by(need)
    return {Need(found): count for found, count in session.execute(counts)}


def held(session: Session) -> Mapping[str, Sequence[str]]:
    """Returns the resource names of the running jobs by the name of the worker that has them."""
    running = select(JobRow.lease_owner, JobRow.project, JobRow.id).where(JobRow.state == JobState.RUNNING)
    found: dict[str, list[str]] = {}
    for worker, project, job_id in session.execute(running.order_by(JobRow.id)):
        found.setdefault(worker or "", []).append(f"projects/{project}/jobs/{job_id}")
    return found


def _start_time(session: Session, need: Need | None, position: int, now: datetime) -> datetime | None:
    latest = session.execute(
        select(JobRow.start_time, JobRow.end_time)
        .where(JobRow.need == need, JobRow.end_time.is_not(None), JobRow.start_time.is_not(None))
        .order_by(JobRow.end_time.desc())
        .limit(_HISTORY)
    ).all()
    if not latest:
        return None
    seconds = sum((end - start).total_seconds() for start, end in latest if start and end) / len(latest)
    at_once = session.scalars(select(func.count()).where(JobRow.state == JobState.RUNNING, JobRow.need == need)).one()
    return now + timedelta(seconds=seconds * math.ceil(position / max(1, at_once)))


def _running_by_project() -> Subquery:
    return (
        select(JobRow.project, func.count().label("jobs"))
        .where(JobRow.state == JobState.RUNNING)
        .group_by(JobRow.project)
        .subquery("running")
    )


def _in_turn(query: Select[*tuple[Any, ...]], running: Subquery) -> Select[*tuple[Any, ...]]:
    return (
        query.outerjoin(running, running.c.project == JobRow.project)
        .outerjoin(TurnRow, TurnRow.project == JobRow.project)
        .order_by(JobRow.priority.desc(), func.coalesce(running.c.jobs, 0), TurnRow.time.asc().nulls_first())
    )


def _needs_one_of(needs: Collection[Need]) -> ColumnElement[bool]:
    return or_(JobRow.need.is_(None), JobRow.need.in_(needs))
