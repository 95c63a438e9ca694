"""The operational database: sync ledger, plans, approvals, dead letters.

`Store(url)` connects, `migrate()` brings the schema up; `ledger`, `plans` and `letters` are its
verbs. Imports none of the rooms above it.
"""

from cdp_assets.store import ledger, letters, plans
from cdp_assets.store.database import Store, StoreError

__all__ = ["Store", "StoreError", "ledger", "letters", "plans"]
