"""The log of a table: opened freshly, committed to once, durable before anyone is told.

Order of a write, so that a kill or a power cut at any point leaves the old table or the new one:
data files written and synced (`files.write`), then the log entry put in place by deltalake, then
the log entry and its folder synced, and only then does the caller learn of it. Files of a commit
that did not happen are removed, or swept by vacuum.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from cdp_assets.settings import crash_point

from .files import make_folder, sync
from .schema import SEQ, Types
from .table import Table

CHECKPOINT_EVERY = 20
LAST_CHECKPOINT = "_last_checkpoint"
logger = logging.getLogger(__name__)
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True)
class Commit:
    """What a write did. seq: the table's feed counter after it; version: of the Delta table;
    the counts are rows (of keyed tables) whose content was new, changed, ended, or the same."""

    seq: int
    version: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0


def log_entry(root: Path, version: int) -> Path:
    """The file that holds a version's commit."""
    return root / "_delta_log" / f"{version:020}.json"


def exists(root: Path) -> bool:
    """Whether a table lies here: a log with a commit or a checkpoint in it."""
    log = root / "_delta_log"
    try:
        with os.scandir(log) as entries:
            return any(entry.name.endswith((".json", ".parquet")) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def stored_types(table: DeltaTable) -> dict[str, pl.DataType]:
    """The columns of a handle's version in polars types."""
    return dict(pl.Schema(table.schema()))


def delta_schema(types: Types) -> Schema:
    """Polars types as a Delta schema, every column nullable."""
    return Schema.from_arrow(pl.DataFrame(schema=dict(types)).to_arrow().schema)


def create(root: Path, table: Table, types: Types) -> DeltaTable:
    """Make an empty table. Raises where one lies there already."""
    changed = make_folder(root / "_delta_log")
    made = DeltaTable.create(
        root,
        schema=delta_schema(types),
        mode="error",
        partition_by=list(table.partition_by),
        name=table.key,
        description=table.description or None,
        configuration=configuration(table),
    )
    crash_point("lake:after-create")
    settle(root, made.version())
    for folder in changed:
        sync(folder)
    return made


def configuration(table: Table) -> dict[str, str | None]:
    """Table properties: statistics of columns that name no person, no change data feed (it would
    keep deleted rows), checkpoints by ourselves, no clean-up of the log beside readers."""
    return {
        "delta.dataSkippingStatsColumns": ",".join(table.statistics),
        "delta.enableChangeDataFeed": "false",
        "delta.checkpointInterval": "1000000",
        "delta.enableExpiredLogCleanup": "false",
        "delta.logRetentionDuration": "interval 7 days",
    }


def put(
    root: Path,
    handle: DeltaTable,
    *,
    partition_by: Sequence[str],
    adds: Sequence[AddAction] = (),
    removes: Sequence[RemoveAction] = (),
    transactions: Mapping[str, int],
) -> int:
    """Put the next log entry in place through the handle that the transactions were read from, and
    return its version; `settle` makes it durable. A commit of anyone else since the handle was
    opened that touches the same transactions or files makes it fail (CommitFailedError)."""
    actions: list[AddAction | RemoveAction] = [*removes, *adds]
    version = handle.version() + 1
    try:
        handle.create_write_transaction(
            actions,
            mode="append",
            schema=handle.schema(),
            partition_by=list(partition_by),
            commit_properties=CommitProperties(
                max_commit_retries=0,
                app_transactions=[Transaction(name, v) for name, v in transactions.items()],
            ),
            post_commithook_properties=_NO_HOOKS,
        )
    except Exception:
        # The entry is linked to its name before its temporary name is removed: an error in
        # between comes from a commit that has happened.
        entry = log_entry(root, version)
        if not (adds and entry.exists() and adds[0].path in entry.read_text()):
            raise
    return version


def settle(root: Path, version: int, *, after: int | None = None) -> None:
    """Make a commit durable: sync its log entry and the log's folder, and the entry before it,
    whose writer may have been killed between commit and sync."""
    for entry in (log_entry(root, v) for v in (after, version) if v is not None):
        if entry.exists():
            entry.chmod(0o600)
            sync(entry)
    sync(root / "_delta_log")


def checkpoint(root: Path) -> None:
    """Write a checkpoint of the present version, so that opening reads few log entries."""
    handle = DeltaTable(root)
    handle.create_checkpoint()
    log = root / "_delta_log"
    for path in (*log.glob(f"{handle.version():020}.checkpoint*.parquet"), log / LAST_CHECKPOINT):
        path.chmod(0o600)
        sync(path)
    sync(log)


def after(root: Path, version: int) -> None:
    """A checkpoint every few versions. That it fails does not undo the commit it follows."""
    if version % CHECKPOINT_EVERY == 0:
        try:
            checkpoint(root)
        except (DeltaError, OSError) as error:
            logger.warning("No checkpoint of %s: %s", root.name, type(error).__name__)


def transactions(handle: DeltaTable, names: Sequence[str]) -> dict[str, int]:
    """The stored versions of these transactions, 0 where there is none."""
    return {name: handle.transaction_version(name) or 0 for name in names}


def seq_of(handle: DeltaTable) -> int:
    """The feed counter of a handle's version."""
    return handle.transaction_version(SEQ) or 0
