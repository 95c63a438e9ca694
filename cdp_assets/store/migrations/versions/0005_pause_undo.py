"""Pauses of syncs, and what a record showed before it was told, so that it can be put back."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sync_ledger", sa.Column("before", sa.Text()))
    op.create_table(
        "sync_pause",
        sa.Column("sync", sa.String(128), primary_key=True),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sync_pause")
    op.drop_column("sync_ledger", "before")
