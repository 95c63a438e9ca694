"""Every property ever seen, with its types; and how many events of each name a day brought.

Both are folded from table events by its change feed, each in one commit that also says how far it
read: killed anywhere, they are as if the run had not been.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Raw

from cdp_assets.events.plan.rules import load
from cdp_assets.events.shapes import LARGEST, TYPES_OF_TRAITS, Shapes, shapes_of
from cdp_assets.events.tables import EVENTS, TS, snake
from cdp_assets.lake import Lake, Table

KINDS: Final = ("string", "integer", "number", "boolean", "object", "array", "null")
ROOT: Final = ("source", "type", "event")
OTHERS: Final = "(others)"
"""Stands for the names beyond the limits: ids that senders put where names belong."""
MOST_PROPERTIES, MOST_EVENTS = 1_000, 5_000
"""Names that are kept apart of one event, and of one source."""
DEEPEST = 3
"""Members of members of members are told apart; what lies deeper counts with them."""
PART = 250_000
_TOLD = ("event", "type", "payload", "source", "timestamp")

PROPERTIES = Table(
    key="events/properties",
    description="Every property seen of each event and source, with its types. `a.b` is a member "
    "of the object `a`; members of lists are not looked at.",
    schema={
        "source": pl.String(),
        "type": pl.String(),
        "event": pl.String(),
        "property": pl.String(),
        "kind": pl.String(),
        "clash": pl.Boolean(),
        "alike": pl.String(),
        "count": pl.Int64(),
        **{f"{kind}s": pl.Int64() for kind in KINDS},
        "first_seen": TS,
        "last_seen": TS,
    },
    primary_key=(*ROOT, "property"),
    column_docs={
        "event": "Name of a track event; empty for other calls.",
        "property": "Of identify and group calls a trait. Empty: the event itself, so that its "
        "`count` is how many there were.",
        "kind": "The narrowest type that holds all values: integer, number, string …; string "
        "where they clash, for text holds all.",
        "clash": "Whether its values are of types of which none holds the others.",
        "alike": "Another property of the event whose name is the same but for case and signs.",
        "count": "Events that have it.",
        **{f"{kind}s": f"Events in which it is {kind}." for kind in KINDS},
        "first_seen": "Corrected time of the first event that has it.",
        "last_seen": "Corrected time of the last event that has it.",
    },
)

VOLUMES = Table(
    key="events/volumes",
    description="How many events of each name and source fell on each UTC day of their corrected "
    "time.",
    schema={
        "source": pl.String(),
        "type": pl.String(),
        "event": pl.String(),
        "day": pl.Date(),
        "events": pl.Int64(),
    },
    primary_key=(*ROOT, "day"),
    column_docs={"event": "Name of a track event; empty for other calls."},
)


def build_properties(lake: Lake, *, part: int = PART) -> int:
    """Bring events/properties up to table events. Returns how many events were looked at."""
    table = lake.open(PROPERTIES)
    count = 0
    with lake.step(PROPERTIES.key):
        for upto, rows in _news(lake, table.watermark(EVENTS.key), part):
            count += len(rows)
            merged = folded(table.scan().drop("_seq").collect(), properties_of(rows))
            table.merge(merged, watermarks={EVENTS.key: upto})
    return count


def build_volumes(lake: Lake) -> int:
    """Bring events/volumes up to table events. Returns how many rows changed."""
    table, events = lake.open(VOLUMES), lake.open(EVENTS)
    with lake.step(VOLUMES.key):
        after, upto = table.watermark(EVENTS.key), events.seq()
        if upto <= after:
            return 0
        day = pl.col("timestamp").dt.date().alias("day")
        new = (
            events.changes(after, upto=upto)
            .select(*ROOT, day)
            .with_columns(pl.col("event").fill_null(""))
            .group_by(*ROOT, "day")
            .agg(pl.len().cast(pl.Int64).alias("events"))
            .collect(engine="streaming")
        )
        old = table.scan().drop("_seq").join(new.lazy(), on=[*ROOT, "day"], how="semi").collect()
        total = pl.concat([old, new.select(old.columns)]).group_by(*ROOT, "day")
        done = table.merge(total.agg(pl.col("events").sum()), watermarks={EVENTS.key: upto})
        return done.inserted + done.updated


def _news(lake: Lake, after: int, part: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """(a `_seq`, the events up to it), by whole commits, about `part` rows at a time."""
    events = lake.open(EVENTS)
    upto = events.seq()
    if upto <= after:
        return
    sizes = events.changes(after, upto=upto).group_by("_seq").len().sort("_seq").collect()
    waiting, first = 0, after
    for seq, size in sizes.iter_rows():
        waiting += size
        if waiting >= part:
            yield seq, events.changes(first, upto=seq).select(_TOLD).collect()
            waiting, first = 0, seq
    if waiting or first < upto:
        yield upto, events.changes(first, upto=upto).select(_TOLD).collect()


def properties_of(events: pl.DataFrame) -> pl.DataFrame:
    """The rows of table events/properties that these events alone would make.

    events: source, type, event, timestamp, payload. Each distinct shape is read once, so that the
    cost is that of finding shapes; types are exact.
    """
    parts = [pl.DataFrame(schema=dict(PROPERTIES.schema))]
    sizes = events["payload"].str.len_bytes().cast(pl.Int64).cum_sum()
    start = 0
    while start < len(events):
        limit = (sizes[start - 1] if start else 0) + LARGEST
        stop = max(start + 1, int(sizes.search_sorted(limit, side="right")))
        parts.append(_properties_of(events[start:stop]))
        start = stop
    return parts[1] if len(parts) == 2 else folded(parts[0], pl.concat(parts))


def _properties_of(events: pl.DataFrame) -> pl.DataFrame:
    shapes = shapes_of(events["payload"], events["type"])
    seen = events.select(*ROOT, "timestamp").with_columns(
        pl.col("event").fill_null(""),
        pl.Series("hash", shapes.hashes),
        pl.Series("odd", shapes.odd | shapes.no_object),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("at"),
    )
    # what cannot be told by its shape is looked at alone
    alone = pl.when("odd").then("at").otherwise(-1).alias("alone")
    groups = seen.group_by(*ROOT, "hash", alone).agg(
        pl.len().cast(pl.Int64).alias("count"),
        pl.col("timestamp").min().alias("first_seen"),
        pl.col("timestamp").max().alias("last_seen"),
        pl.col("at").first(),
    )
    found: dict[str, list[Any]] = {
        name: [] for name in (*ROOT, "property", "kind", "count", "first_seen", "last_seen")
    }
    known: dict[int, list[tuple[str, str]]] = {}
    for source, kind, event, shape, odd, count, first, last, at in groups.iter_rows():
        members = known.get(shape) if odd < 0 else None
        if members is None:
            members = list(_members(shapes, at, events["payload"], kind))
            if odd < 0:
                known[shape] = members
        for name, type_ in (("", "object"), *members):
            for column, value in zip(
                found, (source, kind, event, name, type_, count, first, last), strict=True
            ):
                found[column].append(value)
    frame = pl.DataFrame(
        found,
        schema={**dict.fromkeys((*ROOT, "property", "kind"), pl.String), "count": pl.Int64,
                "first_seen": TS, "last_seen": TS},
    )  # fmt: skip
    counted = frame.with_columns(
        pl.when(pl.col("kind") == kind).then("count").otherwise(0).alias(f"{kind}s")
        for kind in KINDS
    )
    return _added(counted)


def _members(shapes: Shapes, at: int, payload: pl.Series, kind: str) -> Iterator[tuple[str, str]]:
    """(property, type) of one event's object."""
    if shapes.odd[at] or shapes.no_object[at]:
        fields = msgspec.json.decode(payload[at], type=dict[str, Raw])
        raw = fields.get("traits" if kind in TYPES_OF_TRAITS else "properties")
        text = bytes(raw) if raw is not None else b""
    else:
        text = shapes.text(at)
    content = load(text) if text else None
    if isinstance(content, dict):
        yield from _walk(content, "", 1)


def _walk(content: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        path = f"{prefix}{name}"
        yield path, _kind(value)
        if isinstance(value, dict) and depth < DEEPEST:
            yield from _walk(value, f"{path}.", depth + 1)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def folded(known: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The rows of events/properties that change, after what is new was added to what is known.

    Names beyond the limits are counted together, the ones known longest stay apart.
    """
    events = known.select(*ROOT).unique()
    named = [_limited(new, events, "event", ("source", "type"), MOST_EVENTS)]
    properties = known.select(*ROOT, "property")
    limited = _limited(named[0], properties, "property", ROOT, MOST_PROPERTIES)
    touched = limited.select(*ROOT).unique()
    old = known.join(touched, on=ROOT, how="semi", nulls_equal=True)
    return _judged(_added(pl.concat([old, limited], how="diagonal")))


def _limited(
    new: pl.DataFrame, known: pl.DataFrame, name: str, of: tuple[str, ...], most: int
) -> pl.DataFrame:
    """`new` with the names beyond the first `most` of each group turned into OTHERS."""
    names = pl.concat(
        [
            known.select(*of, name).unique().with_columns(pl.lit(0).alias("rank")),
            new.select(*of, name).unique().with_columns(pl.lit(1).alias("rank")),
        ]
    ).group_by(*of, name).agg(pl.col("rank").min())  # fmt: skip
    if not len(names) or names.group_by(*of).len()["len"].max() <= most:  # type: ignore[operator]
        return new
    place = pl.int_range(pl.len()).over(of, order_by=["rank", name])
    kept = names.filter((place < most) | (pl.col(name) == ""))
    inside = new.join(kept, on=[*of, name], how="semi").select(new.columns)
    beyond = new.join(kept, on=[*of, name], how="anti").with_columns(pl.lit(OTHERS).alias(name))
    return _added(pl.concat([inside, beyond.select(new.columns)]))


def _added(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a property."""
    counts = ("count", *(f"{kind}s" for kind in KINDS))
    return _judged(
        rows.group_by(*PROPERTIES.primary_key).agg(
            *(pl.col(name).sum() for name in counts),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
        )
    )


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that follow from the counts: kind, clash, alike."""
    has = {kind: pl.col(f"{kind}s") > 0 for kind in KINDS}
    numeric = has["integer"] | has["number"]
    families = sum(
        (e.cast(pl.Int8) for e in (has["string"], numeric, has["boolean"], has["object"],
                                   has["array"])),
        pl.lit(0, pl.Int8),
    )  # fmt: skip
    kind = (
        pl.when(families > 1).then(pl.lit("string"))
        .when(has["string"]).then(pl.lit("string"))
        .when(has["number"]).then(pl.lit("number"))
        .when(has["integer"]).then(pl.lit("integer"))
        .when(has["boolean"]).then(pl.lit("boolean"))
        .when(has["object"]).then(pl.lit("object"))
        .when(has["array"]).then(pl.lit("array"))
        .otherwise(pl.lit("null"))
    )  # fmt: skip
    names = rows["property"].unique()
    plain = pl.DataFrame({"property": names, "plain": [_plain(n) for n in names.to_list()]},
                         schema={"property": pl.String, "plain": pl.String})  # fmt: skip
    judged = rows.drop("kind", "clash", "alike", strict=False).with_columns(
        kind.alias("kind"), (families > 1).alias("clash")
    ).join(plain, on="property", how="left")  # fmt: skip
    group = (*ROOT, "plain")
    others = pl.col("property").sort().over(group, mapping_strategy="join")
    first, second = others.list.get(0), others.list.get(1, null_on_oob=True)
    alike = pl.when(second.is_null()).then(None).when(pl.col("property") == first).then(second)
    return judged.with_columns(alike.otherwise(first).alias("alike")).select(*PROPERTIES.schema)


def _plain(name: str) -> str:
    return ".".join(snake(part) if part.isascii() else part.casefold() for part in name.split("."))
