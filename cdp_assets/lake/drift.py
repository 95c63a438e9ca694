"""A stored table takes on new columns and wider types; clashing values move beside, as text."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.transaction import AddAction, RemoveAction

from cdp_assets.settings import crash_point

from . import commit as log
from . import files
from .schema import BESIDE, Drift, as_text, widened
from .table import Table


def migrate(root: Path, table: Table, handle: DeltaTable, change: Drift) -> DeltaTable:
    """Bring the stored table to its new columns in one commit and return a handle of it.

    New columns need a log entry only. For a wider type or a clash all files are written anew, with
    their `_seq`: a Delta table has one type a column, and readers outside see that type.
    The table's lock is held.
    """
    if not change.rewrites:
        fields = log.delta_schema(change.added).fields
        handle.alter.add_columns(fields)
        log.settle(root, handle.version())
        return DeltaTable(root)
    stored = log.stored_types(handle)
    types = stored | change.widened | change.moved | change.added
    columns: list[pl.Expr] = []
    for name, dtype in types.items():
        origin = name.removesuffix(BESIDE)
        if name.endswith(BESIDE) and origin in change.moved:
            text = as_text(origin, stored[origin])
            columns.append((pl.coalesce(text, name) if name in stored else text).alias(name))
        elif name in change.moved or name not in stored:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
        else:
            columns.append(widened(pl.col(name), stored[name], dtype).alias(name))
    actions: list[AddAction | RemoveAction] = []
    for file in files.live_files(handle, table.partition_by):
        rows = files.read(root, [file], stored, None).select(columns).collect()
        actions += files.write(
            root,
            rows,
            partition_by=table.partition_by,
            cluster_by=(),
            statistics=table.statistics,
            rows_per_file=files.KEYED_ROWS if table.keyed else None,
        )
    crash_point("lake:before-migration")
    # The one place where a commit replaces all files: the schema changes with them. It is safe
    # only because every writer holds the lock (beside one that does not, rows would be lost).
    handle.create_write_transaction(
        actions,
        mode="overwrite",
        schema=log.delta_schema(types),
        partition_by=list(table.partition_by),
        commit_properties=CommitProperties(max_commit_retries=0),
        post_commithook_properties=PostCommitHookProperties(
            create_checkpoint=False, cleanup_expired_logs=False
        ),
    )
    crash_point("lake:after-migration")
    log.settle(root, handle.version() + 1)
    return DeltaTable(root)
