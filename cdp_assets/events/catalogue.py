"""The derived tables of events: cut back after a kill, decoded anew where their meaning changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import msgspec
import polars as pl
from msgspec import Raw

from cdp_assets.events.model import NO_RAW
from cdp_assets.events.tables import BATCH, CATALOGUE, ENVELOPE, EVENTS, OBSERVATIONS, by_people
from cdp_assets.events.typed import TraitSpec, TypedSpec
from cdp_assets.events.values import fold, observe
from cdp_assets.lake import Lake, OpenTable, Table
from cdp_assets.settings import crash_point

REBUILD_ROWS = 250_000


class _Payload(msgspec.Struct, gc=False):
    """What rebuilding reads of a stored payload."""

    properties: Raw = NO_RAW
    traits: Raw = NO_RAW
    context: Raw = NO_RAW


class _ContextTraits(msgspec.Struct, gc=False):
    traits: Raw = NO_RAW


_payload = msgspec.json.Decoder(_Payload).decode
_context = msgspec.json.Decoder(_ContextTraits).decode


def recover(lake: Lake) -> None:
    """Cut off what an ingest that was killed before its last commit left in derived tables:
    rows above the `_seq` that table events records. To be called under the step's lock."""
    events = lake.open(EVENTS)
    for key in _derived(lake):
        table = lake.open(OBSERVATIONS if key == OBSERVATIONS.key else _by_day(key))
        recorded = events.watermark(key)
        if table.seq() > recorded:
            table.truncate(recorded)


def prepare(lake: Lake, specs: Iterable[TypedSpec], traits: TraitSpec) -> list[str]:
    """Decode from the stored payloads every derived table that the configuration now means
    otherwise (a property, event or trait named for the first time, another type). Returns the
    keys of the tables that were decoded."""
    catalogue, known = lake.open(CATALOGUE), _known(lake)
    specs = list(specs)
    changed: list[str] = []
    # a table that is filled no longer is decoded anew when it is named again
    idle = [
        {**row, "spec": ""}
        for key, row in known.items()
        if row["spec"] and key != OBSERVATIONS.key and key not in {s.key for s in specs}
    ]
    if idle:
        catalogue.merge(pl.DataFrame(idle, schema={**CATALOGUE.schema, "_seq": pl.Int64()}))

    def settle(key: str, event: str | None, columns: dict[str, str], digest: str,
               rebuild: Callable[[], object]) -> None:  # fmt: skip
        if known.get(key, {}).get("spec") == digest:
            return
        row = {"table": key, "event": event,
               "columns": msgspec.json.encode(columns).decode(), "spec": ""}  # fmt: skip
        if lake.open(EVENTS).exists():
            # first "being decoded": killed from here on, the next run decodes again
            catalogue.merge(pl.DataFrame([row], schema=dict(CATALOGUE.schema)))
            rebuild()
            changed.append(key)
            crash_point("rebuild:before-catalogue")
        catalogue.merge(pl.DataFrame([{**row, "spec": digest}], schema=dict(CATALOGUE.schema)))

    for spec in specs:
        settle(spec.key, spec.event, spec.columns, spec.digest,
               lambda spec=spec: rebuild_typed(lake, spec))  # type: ignore[misc]  # fmt: skip
    if traits.fields or OBSERVATIONS.key in known:
        settle(OBSERVATIONS.key, None, {}, traits.digest,
               lambda: rebuild_observations(lake, traits))  # fmt: skip
    return changed


def outstanding(lake: Lake, specs: Iterable[TypedSpec], traits: TraitSpec) -> bool:
    """Whether `prepare` would decode anything."""
    known = _known(lake)
    wanted = {spec.key: spec.digest for spec in specs}
    if traits.fields or OBSERVATIONS.key in known:
        wanted[OBSERVATIONS.key] = traits.digest
    return any(known.get(key, {}).get("spec") != digest for key, digest in wanted.items())


def _known(lake: Lake) -> dict[str, dict[str, Any]]:
    rows = lake.open(CATALOGUE).scan().collect()
    return {row["table"]: row for row in rows.iter_rows(named=True)}


def rebuild_typed(lake: Lake, spec: TypedSpec) -> int:
    """Decode a typed table from the payloads of its event; returns its rows. Whole days are
    replaced, in parts that fit in memory; a day whose rows are the same is left alone."""
    events, table = lake.open(EVENTS), lake.open(spec.table)
    wanted = (pl.col("type") == "track") & (pl.col("event") == spec.event) & by_people()
    count = 0
    for days, rows in _parts(events, wanted, table):
        payloads = [_read(text) for text in rows["payload"].to_list()]
        typed = spec.decode(range(len(rows)), [p.properties for p in payloads])
        frame = pl.concat([rows.select(*ENVELOPE), typed.drop("row")], how="horizontal")
        table.replace(frame, scope=pl.DataFrame({"event_day": days}))
        count += len(rows)
        crash_point("rebuild:after-part")
    _record(events, table)
    return count


def rebuild_observations(lake: Lake, traits: TraitSpec) -> None:
    """Take the named traits out of the payloads of all identify calls, and fold them anew."""
    events, table = lake.open(EVENTS), lake.open(OBSERVATIONS)
    table.truncate(0)
    crash_point("rebuild:after-truncate")
    for _, rows in _parts(events, (pl.col("type") == "identify") & by_people(), None):
        payloads = [_read(text) for text in rows["payload"].to_list()]
        observed = traits.decode(
            range(len(rows)),
            [p.traits for p in payloads],
            [_traits_of(p.context) for p in payloads],
        )
        numbered = rows.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
        table.append(observe(numbered, observed))
    _record(events, table)
    fold(lake, whole=True)


def _by_day(key: str) -> Table:
    return Table(key=key, schema={"event_day": pl.Date()}, partition_by=("event_day",))


def _derived(lake: Lake) -> list[str]:
    rows = lake.open(CATALOGUE).scan().select("table").collect()
    return [str(key) for key in rows["table"].to_list()]


def _parts(
    events: OpenTable, wanted: pl.Expr, table: OpenTable | None
) -> Iterator[tuple[list[date], pl.DataFrame]]:
    """Stored events by whole days, about REBUILD_ROWS at a time; days that only `table` holds
    come without rows."""
    per_day = events.scan().filter(wanted).group_by("event_day").len().collect()
    counts: dict[date, int] = dict(per_day.iter_rows())
    if table is not None and table.exists():
        held = table.scan().select(pl.col("event_day").unique()).collect()["event_day"]
        counts = {**dict.fromkeys(held.to_list(), 0), **counts}
    days: list[date] = []
    waiting = 0
    for day in sorted(counts):
        days.append(day)
        waiting += counts[day]
        if waiting >= REBUILD_ROWS:
            yield days, _of_days(events, wanted, days)
            days, waiting = [], 0
    if days:
        yield days, _of_days(events, wanted, days)


def _of_days(events: OpenTable, wanted: pl.Expr, days: list[date]) -> pl.DataFrame:
    return events.scan().filter(pl.col("event_day").is_in(days) & wanted).collect()


def _record(events: OpenTable, table: OpenTable) -> None:
    marks = {table.table.key: table.seq(), BATCH: events.watermark(BATCH) + 1}
    events.append(pl.DataFrame(schema=dict(EVENTS.schema)), watermarks=marks)


def _read(payload: str) -> _Payload:
    try:
        return _payload(payload)
    except msgspec.DecodeError:
        return _Payload()


def _traits_of(context: Raw) -> Raw:
    try:
        return _context(context).traits
    except msgspec.DecodeError:
        return NO_RAW
