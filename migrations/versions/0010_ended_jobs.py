"""Ended jobs are found by what they needed: start times are estimated from the latest.

Revision: 0010
After: 0009
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_need_end_time", "jobs", ["need", "end_time"])


def downgrade() -> None:
    op.drop_index("ix_jobs_need_end_time", "jobs")
