"""Whether machines answer, and the last check of that."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "machine_liveness",
        sa.Column("machine_key", sa.Text(), nullable=False),
        sa.Column("answers", sa.Boolean(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["machine_key"],
            ["machines.key"],
            name="fk_machine_liveness_machine_key",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("machine_key", name="pk_machine_liveness"),
    )
    op.create_table(
        "liveness_checks",
        sa.Column("check_id", NUMBER, nullable=False, autoincrement=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("machines", sa.Integer(), nullable=False),
        sa.Column("silent", sa.Integer(), nullable=False),
        sa.Column("not_probed", sa.Integer(), nullable=False),
        sa.Column("offline", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("check_id", name="pk_liveness_checks"),
    )


def downgrade() -> None:
    op.drop_table("liveness_checks")
    op.drop_table("machine_liveness")
