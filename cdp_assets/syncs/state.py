"""What each record was last told, folded from the ledger into `syncs/<name>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.store import Store, ledger
from cdp_assets.syncs.tables import LEDGER, field_of, is_value, last, offered, state_table


def fold(lake: Lake, store: Store, name: str) -> int:
    """Bring `syncs/<name>` up to the ledger; how many rows changed.

    Only acknowledged rows count as told; a record that the destination says is gone leaves the
    state. Entries without outcome are folded once they have one. Run under the sync's step lock.
    """
    table = lake.open(state_table(name))
    after = table.watermark(LEDGER)
    entries = ledger.entries(store, name, after)
    if not entries:
        return 0
    waiting = [entry.id for entry in entries if entry.outcome is None]
    upto = min(waiting) - 1 if waiting else entries[-1].id
    rows, gone = fold_entries(entries, _stored(table.scan(), _records(entries)))
    changed = 0
    if gone and table.exists():
        keys = pl.DataFrame({"record": sorted(gone)}, schema={"record": pl.String})
        changed = table.delete(keys).deleted
    commit = table.merge(rows, watermarks={LEDGER: upto} if upto > after else {})
    return changed + commit.inserted + commit.updated


def fold_entries(
    entries: Iterable[ledger.Entry], stored: pl.DataFrame
) -> tuple[pl.DataFrame, set[str]]:
    """The state's rows after these entries, in the order of their ids, and the records gone.

    stored: the state's present rows of the entries' records, with all their columns.
    """
    rows: dict[str, dict[str, Any]] = {r["record"]: r for r in stored.iter_rows(named=True)}
    gone: set[str] = set()
    touched: set[str] = set()
    for entry in entries:
        record = entry.record
        if record is None or entry.outcome not in ("ok", "failed"):
            continue
        if entry.op == "delete" and (entry.outcome == "ok" or entry.error_class == "gone"):
            touched.add(record)
            row = rows.setdefault(record, {"record": record, "checked_at": None})
            row |= {name: None for name in row if is_value(name)}
            row |= {**_head(entry), "removed_at": entry.intent_at}
            continue
        if entry.outcome == "failed":
            if entry.error_class == "gone":
                gone.add(record)
                rows.pop(record, None)
            continue
        gone.discard(record)
        touched.add(record)
        row = rows.setdefault(record, {"record": record, "checked_at": None})
        if _of_another(row, entry.entity):
            row = rows[record] = {"record": record, "checked_at": None}
        row |= {last(f): t for f, t in entry.fields.items()}
        row |= {offered(f): t for f, t in entry.fields.items() if offered(f) in row}
        row |= entry.asked
        row |= {
            **_head(entry),
            "told_at": entry.intent_at,
            "removed_at": None,
            "differs": None,
        }
        if entry.created:
            row["created_at"] = entry.intent_at
    return _frame([rows[r] for r in sorted(touched & rows.keys())], stored), gone


def _head(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "object": entry.object,
        "entity": entry.entity or None,
        "profile_id": entry.profile_id,
    }


def remembered(lake: Lake, name: str, entity: str) -> pl.LazyFrame:
    """The state's rows of this entity's profiles. A sync that once wrote another entity's keeps
    those rows until their records are told anew: the ids in them mean nobody here."""
    mine = pl.col("entity").is_null() | (pl.col("entity") == entity)
    return lake.open(state_table(name)).scan().filter(mine).drop("_seq", "entity")


def told_fields(lake: Lake, name: str) -> frozenset[str]:
    """Fields of which the sync knows what some record holds: they were there once."""
    names = lake.open(state_table(name)).scan().collect_schema().names()
    return frozenset(field for column in names if (field := field_of(column)) is not None)


def remember(lake: Lake, name: str, entity: str, checked: pl.DataFrame) -> int:
    """Keep what a plan read and found in order already; how many rows changed."""
    if checked.is_empty():
        return 0
    table = lake.open(state_table(name))
    stored = _stored(table.scan(), checked["record"].to_list())
    rows = {r["record"]: r for r in stored.iter_rows(named=True)}
    for row in checked.iter_rows(named=True):
        found = {n: v for n, v in row.items() if n != "told_at"}
        before = rows.get(row["record"], {})
        if _of_another(before, entity):
            before = {}
        known = {"entity": entity, "differs": None}
        rows[row["record"]] = {"told_at": None, **before, **found, **known}
    commit = table.merge(_frame(list(rows.values()), stored))
    return commit.inserted + commit.updated


def mark(lake: Lake, name: str, records: Sequence[str]) -> int:
    """Note that these records show something else than they were told; how many are new."""
    table = lake.open(state_table(name))
    stored = _stored(table.scan(), list(records))
    if stored.is_empty():
        return 0
    rows = [{**row, "differs": True} for row in stored.iter_rows(named=True)]
    return table.merge(_frame(rows, stored)).updated


def _of_another(row: Mapping[str, Any], entity: str) -> bool:
    return bool(entity and row.get("entity") and row["entity"] != entity)


def _records(entries: Iterable[ledger.Entry]) -> list[str]:
    return sorted({entry.record for entry in entries if entry.record})


def _stored(scan: pl.LazyFrame, records: list[str]) -> pl.DataFrame:
    wanted = pl.LazyFrame({"record": records}, schema={"record": pl.String})
    return scan.drop("_seq").join(wanted, on="record", how="semi").collect()


def _frame(rows: list[dict[str, Any]], stored: pl.DataFrame) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    base = {n: pl.DataType.from_python(str) for n in names}
    schema = {**base, **stored.schema, **state_table("x").schema}
    return pl.DataFrame({n: [row.get(n) for row in rows] for n in schema}, schema=schema).select(
        *state_table("x").schema, *sorted(n for n in schema if is_value(n))
    )
