"""The outcome of a model is found by the model: one that is purged would have all outcomes read otherwise.

Revision: 0011
After: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_outcomes_model_id", "outcomes", ["model_id"])


def downgrade() -> None:
    op.drop_index("ix_outcomes_model_id", "outcomes")
