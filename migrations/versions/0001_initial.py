"""Architectures, jobs with their events and outbox, models with their artifacts, idempotency keys.

Revision: 0001
After: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    time = sa.DateTime(timezone=True)

    op.create_table(
        "architectures",
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String(63), nullable=False),
        sa.Column("graph", json, nullable=False),
        sa.Column("cost", json, nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name="pk_architectures"),
        sa.UniqueConstraint("project", "digest", name="uq_architectures_project_digest"),
    )
    op.create_index("ix_architectures_project_create_time_id", "architectures", ["project", "create_time", "id"])

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(63), nullable=False),
        sa.Column("labels", json, nullable=False),
        sa.Column("architecture", sa.String(64), nullable=False),
        sa.Column("spec", json, nullable=False),
        sa.Column("work_key", sa.String(64), nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("stage", sa.String(32), nullable=True),
        sa.Column("progress", json, nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("error_reason", sa.String(63), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("start_time", time, nullable=True),
        sa.Column("end_time", time, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(255), nullable=True),
        sa.Column("lease_expires", time, nullable=True),
        sa.Column("live_work_key", sa.String(64), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "architecture"],
            ["architectures.project", "architectures.digest"],
            name="fk_jobs_project_architecture_architectures",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("project", "live_work_key", name="uq_jobs_project_live_work_key"),
    )
    op.create_index("ix_jobs_project_create_time_id", "jobs", ["project", "create_time", "id"])
    op.create_index("ix_jobs_state_lease_expires", "jobs", ["state", "lease_expires"])

    op.create_table(
        "job_events",
        sa.Column("job_id", sa.String(63), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", time, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("stage", sa.String(32), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("progress", json, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "sequence", name="pk_job_events"),
    )

    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(63), nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("sent_time", time, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_outbox_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_job_id", "outbox", ["job_id"])
    unsent = sa.text("sent_time IS NULL")
    op.create_index("ix_outbox_unsent", "outbox", ["id"], sqlite_where=unsent, postgresql_where=unsent)

    op.create_table(
        "models",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("job_id", sa.String(63), nullable=False),
        sa.Column("target_index", sa.Integer(), nullable=False),
        sa.Column("architecture", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(63), nullable=False),
        sa.Column("device_profile", sa.String(63), nullable=True),
        sa.Column("create_time", time, nullable=False),
        sa.Column("report", json, nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("flash_bytes", sa.BigInteger(), nullable=False),
        sa.Column("arena_bytes", sa.BigInteger(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("macs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("job_id", "target_index", name="uq_models_job_id_target_index"),
    )
    op.create_index("ix_models_project_create_time_id", "models", ["project", "create_time", "id"])
    op.create_index("ix_models_project_architecture_dataset", "models", ["project", "architecture", "dataset"])

    op.create_table(
        "artifacts",
        sa.Column("model_id", sa.String(63), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_artifacts_model_id_models"),
        sa.PrimaryKeyConstraint("model_id", "format", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"])

    op.create_table(
        "outcomes",
        sa.Column("job_id", sa.String(63), nullable=False),
        sa.Column("target_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("report", json, nullable=False),
        sa.Column("model_id", sa.String(63), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_outcomes_job_id_jobs"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_outcomes_model_id_models"),
        sa.PrimaryKeyConstraint("job_id", "target_index", name="pk_outcomes"),
    )

    op.create_table(
        "requests",
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("method", sa.String(63), nullable=False),
        sa.Column("request_id", sa.String(63), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(63), nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.PrimaryKeyConstraint("project", "method", "request_id", name="pk_requests"),
    )


def downgrade() -> None:
    for table in ("requests", "outcomes", "artifacts", "models", "outbox", "job_events", "jobs", "architectures"):
        op.drop_table(table)
