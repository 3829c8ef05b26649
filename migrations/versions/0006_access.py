"""API tokens, the audit log and quotas.

Revision: 0006
After: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", _key(63), nullable=False),
        sa.Column("digest", _key(64), nullable=False),
        sa.Column("scope", sa.String(32), nullable=False),
        sa.Column("project", _key(63), nullable=True),
        sa.Column("title", sa.String(63), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoke_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token", _key(63), nullable=False),
        sa.Column("project", _key(63), nullable=False),
        sa.Column("method", _key(127), nullable=False),
        sa.Column("resource", _key(255), nullable=False),
        sa.Column("code", _key(31), nullable=False),
        sa.Column("request_id", _key(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_project_id", "audit_log", ["project", "id"])
    op.create_index("ix_audit_log_time", "audit_log", ["time"])
    op.create_table(
        "upload_rates",
        sa.Column("project", _key(63), nullable=False),
        sa.Column("idle_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_upload_rates"),
    )


def downgrade() -> None:
    op.drop_table("upload_rates")
    op.drop_table("audit_log")
    op.drop_table("api_tokens")


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
