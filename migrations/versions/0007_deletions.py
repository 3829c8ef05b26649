"""What was deleted and can be undeleted: a table of its own, so that nothing that runs jobs depends on it.

Revision: 0007
After: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("project", _key(), nullable=False),
        sa.Column("id", _key(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purge_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "project", "id", name="pk_deletions"),
    )
    op.create_index("ix_deletions_purge_time", "deletions", ["purge_time"])


def downgrade() -> None:
    op.drop_table("deletions")


def _key() -> sa.types.TypeEngine[str]:
    return sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")
