"""The newest signed index that was seen of each repository."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "repository_indexes",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_repository_indexes"),
    )


def downgrade() -> None:
    op.drop_table("repository_indexes")
