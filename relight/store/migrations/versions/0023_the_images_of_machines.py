"""The image that a machine was made of, and the image of a rollout that replaces machines."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("machines", sa.Column("image_name", sa.Text(), nullable=True))
    op.add_column("machines", sa.Column("image_id", sa.Text(), nullable=True))
    op.add_column("rollouts", sa.Column("image_name", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("rollouts", "image_name")
    op.drop_column("machines", "image_id")
    op.drop_column("machines", "image_name")
