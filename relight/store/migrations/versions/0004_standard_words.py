"""Standard names for tables and columns: remediation, connectivity check, position, reason.

The renamed tables are small and no other table refers to them, so each is copied into a new one:
a rename would keep the old names of the constraints.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)

COLUMNS = (
    ("events", "who", "requested_by"),
    ("events", "why", "reason"),
    ("disruptions", "why", "reason"),
    ("rollout_routes", "place", "position"),
)

BREAKER_KEYS = {
    "seen_at": "last_observed_at",
    "witnesses": "connectivity",
    "unsure": "unknown",
    "said": "answer",
    # Both an instant and a count had the name `looked_at`.
    "looked_at:str": "observed_at",
    "looked_at:int": "observed",
}
"""Old and new keys in the JSON of the breaker's state; `:` precedes the type of the value."""

OLD_BREAKER_KEYS = {new: old.partition(":")[0] for old, new in BREAKER_KEYS.items()}


def upgrade() -> None:
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _rename_index("ix_pool_machines_place", "ix_pool_machines_location")
    _replace_table("artifacts", "deb_files", _deb_files("deb_files"))
    _replace_table("route_care", "route_remediations", _route_remediations())
    _replace_table("witness_looks", "connectivity_checks", _connectivity_checks())
    _translate_breaker(BREAKER_KEYS)


def downgrade() -> None:
    _translate_breaker(OLD_BREAKER_KEYS)
    _replace_table("connectivity_checks", "witness_looks", _witness_looks())
    _replace_table("route_remediations", "route_care", _route_care())
    _replace_table("deb_files", "artifacts", _deb_files("artifacts"))
    _rename_index("ix_pool_machines_location", "ix_pool_machines_place")
    for table, old, new in reversed(COLUMNS):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")


def _rename_index(old: str, new: str) -> None:
    op.drop_index(old, "pool_machines")
    op.create_index(new, "pool_machines", ["provider", "region"])


def _replace_table(old: str, new: str, parts: Sequence[sa.schema.SchemaItem]) -> None:
    """Copy a table into a new one, whose columns have the same order, and drop it."""
    op.create_table(new, *parts)
    op.execute(f"INSERT INTO {new} SELECT * FROM {old}")  # noqa: S608 - names from this file
    op.drop_table(old)


def _deb_files(table: str) -> Sequence[sa.schema.SchemaItem]:
    return (
        sa.Column("release_tag", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("release_tag", "architecture", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["release_tag"], ["releases.tag"], name=f"fk_{table}_release_tag", ondelete="CASCADE"
        ),
    )


def _route_remediations() -> Sequence[sa.schema.SchemaItem]:
    return (
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("quarantined_at", TIME),
        sa.Column("quarantine_reason", sa.Text()),
        sa.Column("quarantine_ended_at", TIME),
        sa.Column("replacement_requested_by", sa.Text()),
        sa.Column("replacement_reason", sa.Text()),
        sa.Column("gone_since", TIME),
        *_keys_of_remediations("route_remediations"),
    )


def _route_care() -> Sequence[sa.schema.SchemaItem]:
    return (
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("quarantined_at", TIME),
        sa.Column("quarantined_why", sa.Text()),
        sa.Column("given_back_at", TIME),
        sa.Column("asked_by", sa.Text()),
        sa.Column("asked_why", sa.Text()),
        sa.Column("gone_since", TIME),
        *_keys_of_remediations("route_care"),
    )


def _keys_of_remediations(table: str) -> Sequence[sa.schema.SchemaItem]:
    return (
        sa.PrimaryKeyConstraint("route_id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["route_id"], ["routes.route_id"], name=f"fk_{table}_route_id"),
    )


def _connectivity_checks() -> Sequence[sa.schema.SchemaItem]:
    return (
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("observed_at", TIME, nullable=False),
        sa.Column("reached", sa.Boolean(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_connectivity_checks"),
    )


def _witness_looks() -> Sequence[sa.schema.SchemaItem]:
    return (
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("looked_at", TIME, nullable=False),
        sa.Column("reached", sa.Boolean(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_witness_looks"),
    )


def _translate_breaker(keys: Mapping[str, str]) -> None:
    breaker = sa.table("breaker", sa.column("breaker_id"), sa.column("state", JSON))
    connection = op.get_bind()
    for row in connection.execute(sa.select(breaker)).all():
        state = _translated(row.state, keys)
        connection.execute(
            breaker.update().where(breaker.c.breaker_id == row.breaker_id).values(state=state)
        )


def _translated(value: Any, keys: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            keys.get(f"{key}:{type(item).__name__}", keys.get(key, key)): _translated(item, keys)
            for key, item in value.items()
        }
    return [_translated(item, keys) for item in value] if isinstance(value, list) else value
