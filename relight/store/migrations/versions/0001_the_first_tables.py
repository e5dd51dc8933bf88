"""The first tables: the fleet, its rollouts, and an event log that only grows."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _declarations()
    _releases()
    _routes()
    _rollouts()
    _events()
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    # Its triggers go with the table.
    op.drop_table("events")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION events_are_append_only()")
    for table in ("rollouts", "machines", "routes", "artifacts", "releases", "settings", "tracks"):
        op.drop_table(table)


def _declarations() -> None:
    op.create_table(
        "tracks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("release_override", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_tracks"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )


def _releases() -> None:
    op.create_table(
        "releases",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("package", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("first_resolved_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tag", name="pk_releases"),
    )
    op.create_table(
        "artifacts",
        sa.Column("release_tag", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("release_tag", "architecture", name="pk_artifacts"),
        sa.ForeignKeyConstraint(
            ["release_tag"],
            ["releases.tag"],
            name="fk_artifacts_release_tag",
            ondelete="CASCADE",
        ),
    )


def _routes() -> None:
    op.create_table(
        "routes",
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("track", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("target_release_tag", sa.Text()),
        sa.Column("current_release_tag", sa.Text()),
        sa.Column("proven_at", TIME),
        sa.Column("machine_key", sa.Text()),
        sa.Column("fault", JSON),
        sa.PrimaryKeyConstraint("route_id", name="pk_routes"),
        sa.ForeignKeyConstraint(["track"], ["tracks.name"], name="fk_routes_track"),
        sa.UniqueConstraint("machine_key", name="uq_routes_machine_key"),
    )
    op.create_index("ix_routes_track", "routes", ["track"])
    op.create_table(
        "machines",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text()),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text()),
        sa.Column("address", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("user_data_sha256", sa.Text()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("destroyed_at", TIME),
        sa.Column("planned_run_id", sa.Text(), nullable=False),
        sa.Column("held_run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_machines"),
        sa.ForeignKeyConstraint(["route_id"], ["routes.route_id"], name="fk_machines_route_id"),
    )
    op.create_index("uq_machines_generation", "machines", ["route_id", "generation"], unique=True)


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("rollout_id", NUMBER, nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("release_tag", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.PrimaryKeyConstraint("rollout_id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_workflow_id", "rollouts", ["workflow_id"])
    op.create_index(
        "uq_rollouts_open_scope",
        "rollouts",
        ["scope"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("event_id", NUMBER, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("route_id", sa.Text()),
        sa.Column("machine_key", sa.Text()),
        sa.Column("release_tag", sa.Text()),
        sa.Column("fault_kind", sa.Text()),
        sa.Column("fault_class", sa.Text()),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    for column in ("kind", "workflow_id", "route_id"):
        op.create_index(f"ix_events_{column}", "events", [column])
    op.create_index(
        "uq_events_activity",
        "events",
        ["run_id", "activity_id", "kind"],
        unique=True,
        sqlite_where=sa.text("activity_id <> ''"),
        postgresql_where=sa.text("activity_id <> ''"),
    )


TRIGGERS = {
    "sqlite": (
        """
        CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
        """,
        """
        CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
        """,
        # INSERT OR REPLACE removes the line in its way without asking the trigger above.
        """
        CREATE TRIGGER events_refuse_replace BEFORE INSERT ON events
        WHEN EXISTS (
            SELECT 1 FROM events
            WHERE event_id = NEW.event_id
            OR (activity_id <> '' AND run_id = NEW.run_id
                AND activity_id = NEW.activity_id AND kind = NEW.kind)
        )
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
        """,
    ),
    "postgresql": (
        """
        CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$
        """,
        """
        CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only()
        """,
    ),
}
