"""The pool, the breaker, what befell routes, and who has one out."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

FAULTS = sa.text("fault_kind IS NOT NULL")

TABLES = (
    "witness_looks",
    "breaker_overrides",
    "breaker",
    "disruptions",
    "route_care",
    "pool_sizes",
    "pool_machines",
)


def upgrade() -> None:
    # SQLite changes no column in place: the table is copied, rows and all.
    with op.batch_alter_table("machines") as machines:
        machines.alter_column("route_id", existing_type=sa.Text(), nullable=True)
        machines.alter_column("generation", existing_type=sa.Integer(), nullable=True)
    _pool()
    _routes()
    _breaker()
    op.create_index("ix_events_lately", "events", ["kind", "at"])
    op.create_index(
        "ix_events_faults", "events", ["at"], sqlite_where=FAULTS, postgresql_where=FAULTS
    )


def downgrade() -> None:
    op.drop_index("ix_events_faults", "events")
    op.drop_index("ix_events_lately", "events")
    for table in TABLES:
        op.drop_table(table)
    # What is gone is forgotten. While the pool has machines the step fails at the next one, and
    # leaves all as it is: a machine that may exist must not be forgotten.
    op.execute("DELETE FROM machines WHERE route_id IS NULL AND status = 'destroyed'")
    op.execute("UPDATE machines SET status = 'running' WHERE status IN ('draining', 'lost')")
    with op.batch_alter_table("machines") as machines:
        machines.alter_column("generation", existing_type=sa.Integer(), nullable=False)
        machines.alter_column("route_id", existing_type=sa.Text(), nullable=False)


def _pool() -> None:
    op.create_table(
        "pool_machines",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("release_tag", sa.Text()),
        sa.Column("proven_at", TIME),
        sa.PrimaryKeyConstraint("key", name="pk_pool_machines"),
        sa.ForeignKeyConstraint(["key"], ["machines.key"], name="fk_pool_machines_key"),
    )
    op.create_index("ix_pool_machines_place", "pool_machines", ["provider", "region"])
    op.create_table(
        "pool_sizes",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "region", name="pk_pool_sizes"),
    )


def _routes() -> None:
    op.create_table(
        "route_care",
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("quarantined_at", TIME),
        sa.Column("quarantined_why", sa.Text()),
        sa.Column("given_back_at", TIME),
        sa.Column("asked_by", sa.Text()),
        sa.Column("asked_why", sa.Text()),
        sa.Column("gone_since", TIME),
        sa.PrimaryKeyConstraint("route_id", name="pk_route_care"),
        sa.ForeignKeyConstraint(["route_id"], ["routes.route_id"], name="fk_route_care_route_id"),
    )
    op.create_table(
        "disruptions",
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("taken_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("route_id", name="pk_disruptions"),
        sa.ForeignKeyConstraint(["route_id"], ["routes.route_id"], name="fk_disruptions_route_id"),
    )


def _breaker() -> None:
    op.create_table(
        "breaker",
        sa.Column("breaker_id", NUMBER, nullable=False, autoincrement=False),
        sa.Column("state", JSON, nullable=False),
        sa.PrimaryKeyConstraint("breaker_id", name="pk_breaker"),
    )
    op.create_table(
        "breaker_overrides",
        sa.Column("override_id", NUMBER, nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("override_id", name="pk_breaker_overrides"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "witness_looks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("looked_at", TIME, nullable=False),
        sa.Column("reached", sa.Boolean(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_witness_looks"),
    )
