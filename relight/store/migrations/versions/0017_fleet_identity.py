"""The identity of the fleet: a store, new or from before, gets its id here, once."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    fleet = op.create_table(
        "fleet",
        sa.Column("fleet_id", sa.Text(), nullable=False),
        sa.Column("namespace_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("fleet_id", name="pk_fleet"),
    )
    op.bulk_insert(fleet, [{"fleet_id": secrets.token_hex(8)}])


def downgrade() -> None:
    op.drop_table("fleet")
