"""The failed tries of pools: a pool that cannot become ready stops, and tells."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

ADDED = ("failed_tries", "tried_release_tag", "tried_at", "tried_fault")


def upgrade() -> None:
    with op.batch_alter_table("pool_sizes") as table:
        table.add_column(
            sa.Column("failed_tries", sa.Integer(), nullable=False, server_default="0")
        )
        table.add_column(sa.Column("tried_release_tag", sa.Text(), nullable=True))
        table.add_column(sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("tried_fault", JSON, nullable=True))
    with op.batch_alter_table("pool_sizes") as table:
        table.alter_column("failed_tries", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("pool_sizes") as table:
        for name in ADDED:
            table.drop_column(name)
