"""Plans, approvals, ledger and dead letters of syncs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sync_plan",
        sa.Column("sync", sa.String(128), primary_key=True),
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("config", sa.String(64), nullable=False),
        sa.Column("made_at", _AT, nullable=False),
        sa.Column("creates", sa.BigInteger, nullable=False),
        sa.Column("updates", sa.BigInteger, nullable=False),
        sa.Column("fields", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("stopped", sa.Text),
    )
    op.create_table(
        "sync_approval",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("sync", sa.String(128), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("config", sa.String(64), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", _AT, nullable=False),
    )
    op.create_index("ix_sync_approval_sync", "sync_approval", ["sync"])
    op.create_table(
        "sync_state",
        sa.Column("sync", sa.String(128), primary_key=True),
        sa.Column("plan", sa.String(64)),
        sa.Column("planned_at", _AT),
        sa.Column("applied", sa.String(64)),
        sa.Column("applied_at", _AT),
    )
    op.create_table(
        "sync_ledger",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("sync", sa.String(128), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("profile_id", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("object", sa.String(128), nullable=False),
        sa.Column("record_id", sa.String(256)),
        sa.Column("op", sa.String(16), nullable=False),
        sa.Column("key_field", sa.String(256)),
        sa.Column("key_value", sa.Text),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("asked", sa.Text),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("intent_at", _AT, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("outcome_at", _AT),
        sa.Column("created", sa.Boolean, nullable=False),
        sa.Column("error_class", sa.String(16)),
        sa.Column("code", sa.String(128)),
        sqlite_autoincrement=True,
    )
    op.create_index("sync_ledger_sync_id", "sync_ledger", ["sync", "id"])
    op.create_index("sync_ledger_open", "sync_ledger", ["sync", "outcome"])
    op.create_table(
        "sync_dead_letter",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("sync", sa.String(128), nullable=False),
        sa.Column("profile_id", sa.BigInteger, nullable=False),
        sa.Column("target", sa.String(400), nullable=False),
        sa.Column("op", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("error_class", sa.String(16), nullable=False),
        sa.Column("code", sa.String(128)),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_at", _AT, nullable=False),
        sa.Column("last_at", _AT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
    )
    op.create_index(
        "sync_dead_letter_target",
        "sync_dead_letter",
        ["sync", "profile_id", "target"],
        unique=True,
    )


def downgrade() -> None:
    for table in ("sync_dead_letter", "sync_ledger", "sync_state", "sync_approval", "sync_plan"):
        op.drop_table(table)
