"""Freeze windows, exclusions, and where each route of a rollout stands."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "freezes",
        sa.Column("freeze_id", NUMBER, nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        *_covers(),
        sa.Column("added_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("freeze_id", name="pk_freezes"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "exclusions",
        sa.Column("exclusion_id", NUMBER, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("pinned_to", sa.Text()),
        *_covers(),
        sa.Column("added_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("exclusion_id", name="pk_exclusions"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rollout_routes",
        sa.Column("rollout_run_id", sa.Text(), nullable=False),
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("previous_release_tag", sa.Text()),
        sa.Column("fault", JSON),
        sa.PrimaryKeyConstraint("rollout_run_id", "route_id", name="pk_rollout_routes"),
    )
    op.create_index(
        "ix_rollout_routes_turn", "rollout_routes", ["rollout_run_id", "wave", "progress", "place"]
    )


def downgrade() -> None:
    for table in ("rollout_routes", "exclusions", "freezes"):
        op.drop_table(table)


def _covers() -> list[sa.Column[str]]:
    """Return the columns of what a restraint covers; a column belongs to one table alone."""
    return [sa.Column(name, sa.Text()) for name in ("route_id", "provider", "region", "track")]
