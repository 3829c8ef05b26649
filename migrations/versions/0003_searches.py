"""What the searches of targets looked at.

Revision: 0003
After: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "searches",
        sa.Column("job_id", sa.String(63), nullable=False),
        sa.Column("target_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("candidates", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "target_index"], ["outcomes.job_id", "outcomes.target_index"], name="fk_searches_job_id_outcomes"
        ),
        sa.PrimaryKeyConstraint("job_id", "target_index", name="pk_searches"),
    )


def downgrade() -> None:
    op.drop_table("searches")
