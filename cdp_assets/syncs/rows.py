"""A plan as rows: what people read, and what its hash is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import polars as pl

from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Change, Obstacle, ref
from cdp_assets.syncs.tables import WRITES, plan_table


def plan_rows(
    config: SyncConfig, changes: Iterable[Change], obstacles: Iterable[Obstacle]
) -> pl.DataFrame:
    """The rows of `syncs/<name>/plan` in a fixed order, without the column of the hash."""
    rows: list[tuple[Any, ...]] = []
    for c in changes:
        head = (c.profile_id, c.object, ref(config.source, c.object, c.record_id), c.op)
        if c.op == "upsert" and c.key_field:
            rows.append((*head, c.key_field, None, c.key_value, "key"))
        if c.op == "delete":
            rows.append((*head, "", None, None, c.why[""]))
        if "list" in c.why and not c.told:
            old, new = (config.list_, None) if c.op == "remove" else (None, config.list_)
            rows.append((*head, "list", old, new, c.why["list"]))
        if c.op not in ("delete", "add", "remove") and not c.left:
            late = c.record_id is not None
            rows += [
                (*head, f, None, f"({stamp})", "set with each row")
                for f, stamp in config.stamps.items()
                if not (late and config.write_policy(f) == "on_create")
            ]
        if c.links:
            with_ = " ".join(f"{o}:{i}" for o, i in c.links)
            rows.append((*head, "(link)", None, with_, "linked with"))
        rows += [(*head, f, c.old.get(f), new, c.why[f]) for f, new in c.told.items()]
    rows += [
        (o.profile_id, o.object, o.record, o.op, o.field, None, None, o.why) for o in obstacles
    ]
    schema = {n: t for n, t in plan_table("x").schema.items() if n != "plan"}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.sort("object", "profile_id", "record", "field")


def plan_hash(name: str, config: SyncConfig, rows: pl.DataFrame) -> str:
    """SHA-256 of everything that would be written, by the rows of `plan_rows`."""
    writes = rows.filter(pl.col("op").is_in(WRITES)).select(
        "object", "record", "profile_id", "op", "field", "old", "new"
    )
    said = hashlib.sha256(f"{name}\n{config.fingerprint}\n".encode())
    said.update(writes.write_ndjson().encode())
    return said.hexdigest()
