"""How often an incident has requeued each route of a rollout: the others go first then."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX, TABLE = "ix_rollout_routes_turn", "rollout_routes"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("requeued", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index(INDEX, TABLE)
    columns = ["rollout_run_id", "wave", "progress", "requeued", "position"]
    op.create_index(INDEX, TABLE, columns)


def downgrade() -> None:
    op.drop_index(INDEX, TABLE)
    op.create_index(INDEX, TABLE, ["rollout_run_id", "wave", "progress", "position"])
    op.drop_column(TABLE, "requeued")
