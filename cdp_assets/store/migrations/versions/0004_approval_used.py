"""When the plan of an approval was applied to its end: an equal plan later is another one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sync_approval", sa.Column("used_at", sa.DateTime(timezone=True)))
    # Which earlier plans were applied is known only of each sync's last one.
    op.execute(
        "UPDATE sync_approval SET used_at = at WHERE EXISTS (SELECT 1 FROM sync_state s"
        " WHERE s.sync = sync_approval.sync AND s.applied = sync_approval.plan)"
    )


def downgrade() -> None:
    op.drop_column("sync_approval", "used_at")
