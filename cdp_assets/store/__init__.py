"""The operational database: sync ledger, plans, approvals, dead letters.

`Store(url)` connects, `migrate()` brings the schema up; `ledger`, `plans`, `pauses`, `keys` and
`letters` are its verbs. Imports none of the rooms above it.
"""

from cdp_assets.store import keys, ledger, letters, pauses, plans
from cdp_assets.store.database import Store, StoreError

__all__ = ["Store", "StoreError", "keys", "ledger", "letters", "pauses", "plans"]
