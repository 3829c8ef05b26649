"""Text that names something is ordered by code point, on PostgreSQL too; SQLite has never done anything else.

Revision: 0005
After: 0004
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEYS: Final = {
    "architectures": {"project": 63, "id": 63, "digest": 64},
    "artifacts": {"model_id": 63, "sha256": 64},
    "datasets": {"project": 63, "id": 63, "digest": 64},
    "device_profiles": {"project": 63, "id": 63},
    "job_events": {"job_id": 63},
    "jobs": {"id": 63, "project": 63, "architecture": 64, "work_key": 64, "live_work_key": 64},
    "models": {
        "id": 63,
        "project": 63,
        "job_id": 63,
        "architecture": 64,
        "dataset": 63,
        "dataset_digest": 64,
        "device_profile": 63,
        "device_profile_project": 63,
    },
    "outbox": {"job_id": 63},
    "outcomes": {"job_id": 63, "model_id": 63},
    "requests": {"project": 63, "method": 63, "request_id": 63, "fingerprint": 64, "resource_id": 63},
    "searches": {"job_id": 63},
}


def upgrade() -> None:
    _collate("C")


def downgrade() -> None:
    _collate("default")


def _collate(collation: str) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, columns in _KEYS.items():
        # One statement per table: the rows stay as they are, and each index is built anew once.
        changes = (f'ALTER COLUMN {name} TYPE VARCHAR({length}) COLLATE "{collation}"' for name, length in columns.items())
        op.execute(f"ALTER TABLE {table} {', '.join(changes)}")
