"""The tables. Rows never leave the store: repositories hand out the frozen values of `secateur.store.records`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from secateur.core.access import Scope
from secateur.core.jobs import JobStage, JobState
from secateur.core.reports import ArtifactFormat
from secateur.core.routing import Need
from secateur.store.columns import FreeText, JsonData, SerialKey, UtcDateTime, enum_by_value, key

Project = key(63)
Identifier = key(63)
Digest = key(64)
Title = String(63)

_UNSENT = text("sent_time IS NULL")


class Deletable(StrEnum):
    """What can be deleted and undeleted."""

    JOB = "job"
    MODEL = "model"
    DATASET = "dataset"


class Base(DeclarativeBase):
    """Base of all rows. Every constraint has a name, so that a migration can drop it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JsonData,
        list[Any]: JsonData,
        JobState: enum_by_value(JobState),
        JobStage: enum_by_value(JobStage),
        Scope: enum_by_value(Scope),
        ArtifactFormat: enum_by_value(ArtifactFormat),
        Need: enum_by_value(Need),
        Deletable: enum_by_value(Deletable),
    }


class ArchitectureRow(Base):
    """An uploaded architecture; never changed."""

    __tablename__ = "architectures"
    __table_args__ = (Index(None, "project", "create_time", "id"), UniqueConstraint("project", "digest"))

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    digest: Mapped[str] = mapped_column(Digest)
    display_name: Mapped[str] = mapped_column(Title)
    graph: Mapped[dict[str, Any]] = mapped_column(deferred=True)  # large, and kept in memory once read
    cost: Mapped[dict[str, Any]]
    create_time: Mapped[datetime]


class DeviceProfileRow(Base):
    """A device profile of a project; never changed."""

    __tablename__ = "device_profiles"

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    profile: Mapped[dict[str, Any]]
    create_time: Mapped[datetime]


class DatasetRow(Base):
    """An uploaded data set; never changed."""

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "project", "digest"),)

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    digest: Mapped[str] = mapped_column(Digest)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    dataset: Mapped[dict[str, Any]]
    create_time: Mapped[datetime]


class JobRow(Base):
    """A job. Its state moves through `secateur.store.journal` alone."""

    __tablename__ = "jobs"
    __table_args__ = (
        ForeignKeyConstraint(["project", "architecture"], ["architectures.project", "architectures.digest"]),
        # At most one live job per work, whatever races: NULLs do not count.
        UniqueConstraint("project", "live_work_key"),
        Index(None, "project", "create_time", "id"),
        Index(None, "project", "state", "create_time", "id"),
        Index(None, "state", "lease_expires"),
        # For "has this label" on PostgreSQL. SQLite, where lists are short, makes an ordinary index of it and never uses it.
        Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
        Index(None, "need", "end_time"),
    )

    # What was asked; never changed
    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    project: Mapped[str] = mapped_column(Project)
    display_name: Mapped[str] = mapped_column(Title)
    labels: Mapped[dict[str, Any]]
    architecture: Mapped[str] = mapped_column(Digest)
    spec: Mapped[dict[str, Any]]
    work_key: Mapped[str] = mapped_column(Digest)
    create_time: Mapped[datetime]

    # Life cycle
    state: Mapped[JobState]
    stage: Mapped[JobStage | None]
    progress: Mapped[dict[str, Any] | None]
    cancel_requested: Mapped[bool]
    error_reason: Mapped[str] = mapped_column(String(63))
    error_message: Mapped[str] = mapped_column(FreeText)
    start_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]

    # Who runs it: `attempt` is the fencing token
    attempt: Mapped[int]
    lease_owner: Mapped[str | None] = mapped_column(String(255))
    lease_expires: Mapped[datetime | None]

    # When it runs and for how long: see `secateur.core.jobs.Scheduling`
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    max_pending_seconds: Mapped[float | None]
    max_run_seconds: Mapped[float | None]
    need: Mapped[Need | None]  # as of its last announcement; NULL: announced by an older release, any worker takes it
    pending_deadline: Mapped[datetime | None]  # of a QUEUED job
    retry_time: Mapped[datetime | None]  # of a QUEUED job that must not start before
    run_deadline: Mapped[datetime | None]  # of a RUNNING job
    lost_attempts: Mapped[int] = mapped_column(server_default=text("0"))

    # Joining equal work: the work key while a new request may join the job, else NULL
    live_work_key: Mapped[str | None] = mapped_column(Digest)

    # Bookkeeping
    version: Mapped[int] = mapped_column(BigInteger)
    last_sequence: Mapped[int] = mapped_column(BigInteger)

    outcomes: Mapped[list[OutcomeRow]] = relationship(order_by="OutcomeRow.target_index", lazy="raise", viewonly=True)

    # SQLAlchemy counts the version up with every change of the row and refuses to write over somebody else's.
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's protocol


class TurnRow(Base):
    """When a project last had a job started: projects take turns."""

    __tablename__ = "turns"

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    time: Mapped[datetime]


class JobEventRow(Base):
    """One event of a job; only ever appended."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime]
    state: Mapped[JobState]
    stage: Mapped[JobStage | None]
    attempt: Mapped[int]
    message: Mapped[str] = mapped_column(FreeText)
    progress: Mapped[dict[str, Any] | None]


class OutboxRow(Base):
    """A message owed to the queue for a job that is QUEUED; gone once the job leaves that state."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_unsent", "id", sqlite_where=_UNSENT, postgresql_where=_UNSENT),
        {"sqlite_autoincrement": True},  # never use an id again: a relay may still be about to mark the old message
    )

    id: Mapped[int] = mapped_column(SerialKey, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    create_time: Mapped[datetime]
    sent_time: Mapped[datetime | None]


class ModelRow(Base):
    """A trained model; never changed."""

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("job_id", "target_index"),
        Index(None, "project", "create_time", "id"),
        Index(None, "project", "architecture", "dataset"),
    )

    # Where it came from
    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    project: Mapped[str] = mapped_column(Project)
    job_id: Mapped[str] = mapped_column(Identifier)  # no foreign key: a model outlives its job
    target_index: Mapped[int]
    architecture: Mapped[str] = mapped_column(Digest)
    dataset: Mapped[str] = mapped_column(Identifier)
    dataset_digest: Mapped[str | None] = mapped_column(Digest)  # NULL: registered
    device_profile: Mapped[str | None] = mapped_column(Identifier)
    device_profile_project: Mapped[str | None] = mapped_column(Project)  # NULL: built in, or no profile
    create_time: Mapped[datetime]

    # What was measured of it: all of it, and figures of the file that goes onto the device, for queries to select by
    report: Mapped[dict[str, Any]]
    accuracy: Mapped[float]
    flash_bytes: Mapped[int] = mapped_column(BigInteger)
    arena_bytes: Mapped[int | None] = mapped_column(BigInteger)  # not "RAM": on Linux that is the process, not the arena
    parameters: Mapped[int] = mapped_column(BigInteger)
    macs: Mapped[int] = mapped_column(BigInteger)
    # NULL: not measured, or a server of before 0008 wrote the row
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    activation_bytes: Mapped[int | None] = mapped_column(BigInteger)
    process_peak_bytes: Mapped[int | None] = mapped_column(BigInteger)
    latency_ms: Mapped[float | None]  # on the machine that measured, not on the device


class FamilyRow(Base):
    """How often the models of a family have changed, so that whoever keeps them in memory notices."""

    __tablename__ = "families"

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    architecture: Mapped[str] = mapped_column(Digest, primary_key=True)
    dataset: Mapped[str] = mapped_column(Identifier, primary_key=True)
    uploaded: Mapped[bool] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    change_time: Mapped[datetime] = mapped_column(index=True)


class ArtifactRow(Base):
    """A file of a model: which blobs are in use, and by whom."""

    __tablename__ = "artifacts"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), primary_key=True)
    format: Mapped[ArtifactFormat] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(Digest, index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class OutcomeRow(Base):
    """A target of a job that came to an end."""

    __tablename__ = "outcomes"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    target_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    report: Mapped[dict[str, Any]]
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"), index=True)


class SearchRow(Base):
    """What the search of a target looked at. Far larger than the report and read far less often, hence a row of its own."""

    __tablename__ = "searches"
    __table_args__ = (ForeignKeyConstraint(["job_id", "target_index"], ["outcomes.job_id", "outcomes.target_index"]),)

    job_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    target_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    candidates: Mapped[list[Any]]


class RequestRow(Base):
    """An idempotency key that was used, and what came of it."""

    __tablename__ = "requests"

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    method: Mapped[str] = mapped_column(Identifier, primary_key=True)
    request_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Digest)
    resource_id: Mapped[str] = mapped_column(Identifier)
    create_time: Mapped[datetime] = mapped_column(index=True)


class TokenRow(Base):
    """An API token: the digest of its secret, never the secret."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    digest: Mapped[str] = mapped_column(Digest)
    scope: Mapped[Scope]
    project: Mapped[str | None] = mapped_column(Project)  # NULL: all projects
    title: Mapped[str] = mapped_column(Title)
    create_time: Mapped[datetime]
    expire_time: Mapped[datetime | None]
    revoke_time: Mapped[datetime | None]


class AuditRow(Base):
    """A call that changed something, or tried to."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "project", "id"), Index(None, "time"))

    id: Mapped[int] = mapped_column(SerialKey, primary_key=True, autoincrement=True)
    time: Mapped[datetime]
    token: Mapped[str] = mapped_column(Identifier)  # no foreign key: what a token did outlives it; empty: none was asked for
    project: Mapped[str] = mapped_column(Project)
    method: Mapped[str] = mapped_column(key(127))
    resource: Mapped[str] = mapped_column(key(255))
    code: Mapped[str] = mapped_column(key(31))
    request_id: Mapped[str] = mapped_column(key(128))


class UploadRateRow(Base):
    """How much of its uploads a minute a project has used up; see `secateur.store.quotas`."""

    __tablename__ = "upload_rates"

    project: Mapped[str] = mapped_column(Project, primary_key=True)
    idle_time: Mapped[datetime]


class DeletionRow(Base):
    """A job, model or data set that was deleted, and is purged when its time comes.

    It is a table of its own instead of columns of theirs: workers read those rows but never this table, so they also work on a
    database that does not have it yet.
    """

    __tablename__ = "deletions"

    kind: Mapped[Deletable] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(Project, primary_key=True)
    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    delete_time: Mapped[datetime]
    purge_time: Mapped[datetime] = mapped_column(index=True)
