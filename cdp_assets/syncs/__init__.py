"""Profiles written to outside systems: planned field by field, approved, applied, remembered.

`plan` compares what is wanted with what was last told and keeps the difference as
`syncs/<name>/plan`; `approve` is somebody's yes to it; `apply` writes it, intent before each call
and outcome after; `replay` lets refused rows be tried again, and
`plan_undo` with `apply_undo` brings back what a run wrote.
"""

from cdp_assets.syncs.approval import ApprovalError, approve, waiting
from cdp_assets.syncs.check import SyncError, check_fields
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.guard import may_write, refusal
from cdp_assets.syncs.model import Plan
from cdp_assets.syncs.replay import dead_letters, replay
from cdp_assets.syncs.resync import resync
from cdp_assets.syncs.run import ApplyResult, apply, plan
from cdp_assets.syncs.summary import summary
from cdp_assets.syncs.tables import PLAN, plan_table, sought_table, state_table
from cdp_assets.syncs.undo import Undo, apply_undo, find_run, plan_undo

__all__ = [
    "PLAN",
    "ApplyResult",
    "ApprovalError",
    "Plan",
    "SyncConfig",
    "SyncError",
    "Undo",
    "apply",
    "apply_undo",
    "approve",
    "check_fields",
    "dead_letters",
    "find_run",
    "may_write",
    "plan",
    "plan_table",
    "plan_undo",
    "refusal",
    "replay",
    "resync",
    "sought_table",
    "state_table",
    "summary",
    "waiting",
]
