"""The standing of rollouts: their status is read from the store."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0008"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

ADDED = ("wave", "waves", "to_do", "blocked_by", "blocked_since", "since")


def upgrade() -> None:
    with op.batch_alter_table("rollouts") as table:
        table.add_column(sa.Column("wave", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("waves", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("since", TIME, nullable=True))
        table.add_column(sa.Column("to_do", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("blocked_by", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("blocked_since", TIME, nullable=True))
    op.execute("UPDATE rollouts SET since = coalesce(closed_at, opened_at)")
    with op.batch_alter_table("rollouts") as table:
        table.alter_column("since", existing_type=TIME, nullable=False)
        for name in ("wave", "waves", "to_do", "blocked_by"):
            table.alter_column(name, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("rollouts") as table:
        for name in ADDED:
            table.drop_column(name)
