"""Tables on disk that many hands read and one hand at a time writes.

The only room that knows Delta Lake. `Table` declares, `Lake.open` gives an `OpenTable`, which
scans, follows changes by `_seq`, and is written to by `append`, `merge`, `replace`, `delete`.
"""

from .commit import Commit
from .errors import (
    Conflict,
    Damaged,
    DeclarationError,
    DiskFull,
    FeedRewound,
    KeyViolation,
    LakeError,
    SchemaError,
    ScopeError,
    StaleWatermark,
)
from .lake import Lake, OpenTable
from .lock import FileLocks, Locks
from .table import Table

__all__ = [
    "Commit",
    "Conflict",
    "Damaged",
    "DeclarationError",
    "DiskFull",
    "FeedRewound",
    "FileLocks",
    "KeyViolation",
    "Lake",
    "LakeError",
    "Locks",
    "OpenTable",
    "SchemaError",
    "ScopeError",
    "StaleWatermark",
    "Table",
]
