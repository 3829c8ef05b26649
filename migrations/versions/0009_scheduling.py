"""Priorities, turns, and how long a job may wait and run.

Revision: 0009
After: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    # None of them has PostgreSQL write the rows anew.
    for column in (
        sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("max_pending_seconds", sa.Double(), nullable=True),
        sa.Column("max_run_seconds", sa.Double(), nullable=True),
        sa.Column("need", sa.String(32), nullable=True),
        sa.Column("pending_deadline", _TIME, nullable=True),
        sa.Column("retry_time", _TIME, nullable=True),
        sa.Column("run_deadline", _TIME, nullable=True),
        sa.Column("lost_attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
    ):
        op.add_column("jobs", column)
    op.create_table(
        "turns",
        sa.Column("project", sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql"), nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_turns"),
    )


def downgrade() -> None:
    op.drop_table("turns")
    for name in (
        "lost_attempts",
        "run_deadline",
        "retry_time",
        "pending_deadline",
        "need",
        "max_run_seconds",
        "max_pending_seconds",
        "priority",
    ):
        op.drop_column("jobs", name)
