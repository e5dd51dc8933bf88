"""Retention: events that are older than a recorded instant may be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

APPEND_ONLY = {
    "sqlite": (
        "DROP TRIGGER events_refuse_delete",
        """
        CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
        """,
    ),
    "postgresql": (
        "DROP TRIGGER events_refuse_early_delete ON events",
        "DROP FUNCTION events_are_kept()",
        "DROP TRIGGER events_refuse_change ON events",
        """
        CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only()
        """,
    ),
}
KEPT_FOR_A_TIME = {
    "sqlite": (
        "DROP TRIGGER events_refuse_delete",
        """
        CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
        WHEN NOT EXISTS (SELECT 1 FROM retention WHERE OLD.at < pruned_before)
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
        """,
    ),
    "postgresql": (
        "DROP TRIGGER events_refuse_change ON events",
        """
        CREATE TRIGGER events_refuse_change BEFORE UPDATE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only()
        """,
        """
        CREATE FUNCTION events_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM retention WHERE OLD.at < pruned_before) THEN
                RAISE EXCEPTION 'the event log is append-only';
            END IF;
            RETURN OLD;
        END $$
        """,
        """
        CREATE TRIGGER events_refuse_early_delete BEFORE DELETE ON events
        FOR EACH ROW EXECUTE FUNCTION events_are_kept()
        """,
    ),
}


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("retention_id", NUMBER, nullable=False, autoincrement=False),
        sa.Column("pruned_before", TIME, nullable=False),
        sa.PrimaryKeyConstraint("retention_id", name="pk_retention"),
    )
    for statement in KEPT_FOR_A_TIME[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table("retention")
