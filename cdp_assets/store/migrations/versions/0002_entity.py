"""Whose profile a row of the ledger and a dead letter is: ids are given out for each entity anew.

Rows from before do not say; empty counts as the entity that the sync has now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEX = "sync_dead_letter_target"


def upgrade() -> None:
    for table in ("sync_ledger", "sync_dead_letter"):
        op.add_column(table, sa.Column("entity", sa.String(128), nullable=False, server_default=""))
    op.drop_index(_INDEX, "sync_dead_letter")
    columns = ["sync", "entity", "profile_id", "target"]
    op.create_index(_INDEX, "sync_dead_letter", columns, unique=True)


def downgrade() -> None:
    """Of letters that differ in the entity alone, the last one is kept."""
    op.execute(
        "DELETE FROM sync_dead_letter WHERE id NOT IN "
        "(SELECT max(id) FROM sync_dead_letter GROUP BY sync, profile_id, target)"
    )
    op.drop_index(_INDEX, "sync_dead_letter")
    op.create_index(_INDEX, "sync_dead_letter", ["sync", "profile_id", "target"], unique=True)
    for table in ("sync_ledger", "sync_dead_letter"):
        op.drop_column(table, "entity")
