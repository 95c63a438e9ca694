"""What a sync's current plan was made from, where the same would give the same plan."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sync_state", sa.Column("basis", sa.Text))


def downgrade() -> None:
    op.drop_column("sync_state", "basis")
