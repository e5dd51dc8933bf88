"""Evidence that the record is older than the fleet, and incidents of the control plane itself."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("routes", sa.Column("newer_version", sa.Text(), nullable=True))
    op.add_column("pool_machines", sa.Column("gone_since", TIME, nullable=True))
    op.create_table(
        "incidents",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_incidents"),
    )


def downgrade() -> None:
    op.drop_table("incidents")
    # Without a batch, which would drop tables that others refer to.
    op.drop_column("pool_machines", "gone_since")
    op.drop_column("routes", "newer_version")
