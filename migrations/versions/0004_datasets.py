"""Data sets of projects; a model knows the content that it was trained on.

Revision: 0004
After: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("dataset", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_project_digest", "datasets", ["project", "digest"])
    op.add_column("models", sa.Column("dataset_digest", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "dataset_digest")
    op.drop_table("datasets")
