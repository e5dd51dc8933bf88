"""Standard words for tables and columns: remediation, connectivity check, position, reason."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

TABLES = (
    ("artifacts", "deb_files"),
    ("route_care", "route_remediations"),
    ("witness_looks", "connectivity_checks"),
)

COLUMNS = (
    ("events", "who", "requested_by"),
    ("events", "why", "reason"),
    ("disruptions", "why", "reason"),
    ("rollout_routes", "place", "position"),
    ("route_remediations", "quarantined_why", "quarantine_reason"),
    ("route_remediations", "asked_why", "asked_reason"),
    ("connectivity_checks", "looked_at", "observed_at"),
    ("connectivity_checks", "said", "answer"),
)


BREAKER_KEYS = {
    "seen_at": "last_observed_at",
    "witnesses": "connectivity",
    "unsure": "unknown",
    "said": "answer",
    "looked_at:str": "observed_at",
    "looked_at:int": "observed",
}

OLD_BREAKER_KEYS = {new: old.partition(":")[0] for old, new in BREAKER_KEYS.items()}


def upgrade() -> None:
    for old, new in TABLES:
        op.rename_table(old, new)
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _rename_index("ix_pool_machines_place", "ix_pool_machines_location")
    _translate_breaker(BREAKER_KEYS)


def downgrade() -> None:
    _translate_breaker(OLD_BREAKER_KEYS)
    _rename_index("ix_pool_machines_location", "ix_pool_machines_place")
    for table, old, new in reversed(COLUMNS):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    for old, new in reversed(TABLES):
        op.rename_table(new, old)


def _rename_index(old: str, new: str) -> None:
    op.drop_index(old, "pool_machines")
    op.create_index(new, "pool_machines", ["provider", "region"])


def _translate_breaker(words: Mapping[str, str]) -> None:
    """Rename the keys of the breaker's state, which is one JSON value."""
    breaker = sa.table("breaker", sa.column("breaker_id"), sa.column("state", JSON))
    connection = op.get_bind()
    for row in connection.execute(sa.select(breaker)).all():
        state = _translated(row.state, words)
        connection.execute(
            breaker.update().where(breaker.c.breaker_id == row.breaker_id).values(state=state)
        )


def _translated(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        # Both a count and an instant were called `looked_at`.
        return {
            words.get(f"{key}:{type(item).__name__}", words.get(key, key)): _translated(item, words)
            for key, item in value.items()
        }
    return [_translated(item, words) for item in value] if isinstance(value, list) else value
