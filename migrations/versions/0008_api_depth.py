"""Figures of models to filter by, versions of families, and indexes: jobs of one state or label, old request ids.

Revision: 0008
After: 0005
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BATCH: Final = 500
_FIGURES: Final = {
    "memory_bytes": sa.BigInteger,
    "activation_bytes": sa.BigInteger,
    "process_peak_bytes": sa.BigInteger,
    "latency_ms": sa.Double,
}


def upgrade() -> None:
    for name, kind in _FIGURES.items():
        op.add_column("models", sa.Column(name, kind(), nullable=True))
    op.create_index("ix_jobs_project_state_create_time_id", "jobs", ["project", "state", "create_time", "id"])
    op.create_index("ix_jobs_labels", "jobs", ["labels"], postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"})
    op.create_index("ix_requests_create_time", "requests", ["create_time"])
    op.create_table(
        "families",
        sa.Column("project", _key(63), nullable=False),
        sa.Column("architecture", _key(64), nullable=False),
        sa.Column("dataset", _key(63), nullable=False),
        sa.Column("uploaded", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("change_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project", "architecture", "dataset", "uploaded", name="pk_families"),
    )
    op.create_index("ix_families_change_time", "families", ["change_time"])
    _backfill()


def downgrade() -> None:
    op.drop_table("families")
    op.drop_index("ix_requests_create_time", "requests")
    op.drop_index("ix_jobs_labels", "jobs")
    op.drop_index("ix_jobs_project_state_create_time_id", "jobs")
    with op.batch_alter_table("models") as models:
        for name in _FIGURES:
            models.drop_column(name)


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _backfill() -> None:
    """Reads the figures of the models that there are out of their reports."""
    models = sa.table(
        "models",
        sa.column("id", sa.String()),
        sa.column("report", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
        *(sa.column(name, kind()) for name, kind in _FIGURES.items()),
    )
    connection = op.get_bind()
    last = ""
    while rows := connection.execute(
        sa.select(models.c.id, models.c.report).where(models.c.id > last).order_by(models.c.id).limit(_BATCH)
    ).all():
        for model_id, report in rows:
            connection.execute(sa.update(models).where(models.c.id == model_id).values(**_figures(report)))
        last = rows[-1].id


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    formats = [file["format"] for file in report["artifacts"]]
    device = "litert-int8" if "litert-int8" in formats else formats[0]
    measured = {each["name"]: each["value"] for each in report["measurements"] if each["format"] == device}
    cost, peak = report["plan"]["cost"], measured.get("process_peak_bytes")
    return {
        "memory_bytes": cost["memory_bytes"],
        "activation_bytes": cost["memory_bytes"] - cost["weight_bytes"],
        "process_peak_bytes": None if peak is None else int(peak),
        "latency_ms": measured.get("latency_ms"),
    }
