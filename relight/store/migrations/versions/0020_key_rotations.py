"""Rotations of the client key and the host-key secret: what each machine and each worker has."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "key_rotations",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("old_fingerprint", sa.Text(), nullable=False),
        sa.Column("old_public", sa.Text(), nullable=False),
        sa.Column("new_fingerprint", sa.Text(), nullable=False),
        sa.Column("new_public", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("phase_since", TIME, nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_key_rotations"),
    )
    op.create_table(
        "machine_keys",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("machine_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("visited_at", TIME, nullable=True),
        sa.Column("fault", JSON, nullable=True),
        sa.Column("left", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_key"],
            ["machines.key"],
            name="fk_machine_keys_machine_key",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("kind", "machine_key", name="pk_machine_keys"),
    )
    op.create_table(
        "worker_keys",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("keys", JSON, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("worker", name="pk_worker_keys"),
    )


def downgrade() -> None:
    op.drop_table("worker_keys")
    op.drop_table("machine_keys")
    op.drop_table("key_rotations")
