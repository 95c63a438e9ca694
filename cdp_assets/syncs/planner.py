"""Makes a plan: frames and readings of the destination in, rows to write out. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import narwhals as nw
import polars as pl

from cdp_assets.connectors.base import Description, Destination, ObjectInfo
from cdp_assets.syncs import decide, gone, targets
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.difference import difference
from cdp_assets.syncs.mapping import KEY, MATCH, want, wanted
from cdp_assets.syncs.model import FOREIGN, NEW, Change, Inputs, Obstacle, Plan, ref
from cdp_assets.syncs.rows import plan_hash, plan_rows
from cdp_assets.syncs.seek import Sought, doubled, seek
from cdp_assets.syncs.tables import TS, held, last, settled

READ_CHUNK = 2_000
SEEK_AGAIN = timedelta(days=7)


def make_plan(
    name: str,
    config: SyncConfig,
    inputs: Inputs,
    destination: Destination,
    description: Description | None,
    now: datetime,
    obstacles: Sequence[Obstacle] = (),
) -> Plan:
    """What the sync `name` would write now.

    The comparison runs over all profiles in columns; the destination is read only for rows that
    differ from what was last told, and asked only for profiles without a known record. The hash
    depends on the rows to be written alone, never on their order or on the time.
    """
    objects = description.objects if description else {}
    state = _complete(inputs.state, config).join(inputs.foreign, on="record", how="anti")
    profiles = wanted(inputs.profiles, config).collect()
    columns = [*map(last, config.fields), *map(held, gone.apart(config))]
    # Read several times below: collected once, since a lazy plan would repeat the joins.
    inputs = replace(inputs, links=inputs.links.collect().lazy())
    mine = targets.holdings(
        nw.from_native(inputs.links),
        nw.from_native(_aged(_there(state, inputs.links), columns)),
        nw.from_native(inputs.redirects),
    )
    holdings = nw.to_native(mine).collect().lazy()
    ranks = {target: place for place, target in enumerate(config.objects)}
    chosen = nw.to_native(targets.choose(nw.from_native(holdings), ranks, config.several)).collect()

    builder = decide.Builder(config, destination, objects, inputs)
    builder.errors(obstacles)
    seekers = profiles.join(chosen, on="profile_id", how="anti")
    seekers, skipped = _worth_seeking(seekers, config, inputs, state, now)
    found = seek(
        seekers,
        config,
        destination,
        lambda records: owners(records, inputs, state),
    )
    adopted = _adopted(found, config.source)
    if config.mode == "insert":
        rows = chosen.clear()
    else:
        rows = pl.concat([chosen, adopted.drop("rule")], how="diagonal")
    both = rows.lazy().join(profiles.drop(KEY, MATCH).lazy(), on="profile_id")
    news: pl.LazyFrame = nw.to_native(difference(nw.from_native(both), config.fields))
    differing = news.collect()
    if rows["differs"].any():
        # What a resync found to differ is read though we have nothing new to say.
        marked = both.filter(pl.col("differs").fill_null(value=False)).collect()
        marked = marked.join(differing, on=["record", "profile_id"], how="anti")
        differing = pl.concat([differing, marked])
    differing = differing.with_columns(gone.together(config))
    differing = differing.join(adopted.select("record", "rule"), on="record", how="left")
    departed = gone.left(holdings, profiles, config)
    for object_name in config.objects:
        for chunk in _chunks(differing, object_name):
            builder.updates(object_name, chunk)
        for chunk in _chunks(departed, object_name):
            builder.departures(object_name, chunk)

    # Of records that were read just now it is said already.
    unread = rows.join(differing, on="record", how="anti")
    for row in _given_way(unread, profiles, config):
        builder.gives_way(*row)

    new = seekers.filter(~pl.col("profile_id").is_in([*found.records, *found.errors]))
    builder.errors(
        Obstacle(profile_id=p, object=o, record=ref(config.source, o, None), why=why)
        for p, (o, why) in sorted(found.errors.items())
    )
    links = decide.linked(inputs, config.link) if config.link else {}
    if config.unlinked == "wait":
        whole = [p for p, found in links.items() if len(found) == len(config.link)]
        may = pl.col("may_create") & pl.col("profile_id").is_in(whole)
        new = new.with_columns(may_create=may)
    creatable = new.filter(pl.col("may_create"))
    if config.creates is not None:
        extras = {p: decide.Extra(links=tuple(found.values())) for p, found in links.items()}
        builder.creates(config.creates, creatable, unkeyed(creatable, config, objects), extras)
    by_time = skipped > 0 and not _pulls_all(config, inputs)
    asked = differing.height > 0 or departed.height > 0 or (seekers.height > 0 and _seeks(config))
    unfound = new.filter(~pl.col("may_create"))
    vain = unfound if _seeks(config) else unfound.clear()
    known = pl.col("told_at").is_not_null() & pl.col("removed_at").is_null()
    return finished(
        name,
        config,
        builder,
        now,
        profiles=profiles.height,
        told=int(state.select(known.sum()).collect().item()),
        without_record=unfound.height + skipped,
        standing=inputs.timeless and not by_time and not asked,
        sought=vain.select("profile_id", sought=_sought(config), at=pl.lit(now, dtype=TS)),
        overtaken=_overtaken(inputs.letters, rows, config.source),
    )


def _chunks(rows: pl.DataFrame, object_name: str) -> Iterator[pl.DataFrame]:
    yield from rows.filter(pl.col("object") == object_name).sort("record").iter_slices(READ_CHUNK)


def _given_way(
    rows: pl.DataFrame, profiles: pl.DataFrame, config: SyncConfig
) -> Iterator[tuple[dict[str, Any], str]]:
    """Records and fields that were left to people at an earlier plan, and still are: what was
    offered is wanted still, and was not told."""
    for name, field in config.fields.items():
        if field.write != "give_way":
            continue
        offered = rows.join(profiles.select("profile_id", want(name)), on="profile_id")
        left = (pl.col(last(name)) == pl.col(want(name))) & (
            pl.col(held(name)) != pl.col(want(name))
        )
        for row in offered.filter(left).sort("record").iter_rows(named=True):
            yield row, name


def _overtaken(letters: pl.DataFrame, rows: pl.DataFrame, source: str) -> tuple[int, ...]:
    """Letters of creations, refused before, that profiles with a record need no more."""
    new = rows.select("profile_id", target=source + "." + pl.col("object") + f":{NEW}").unique()
    return tuple(letters.join(new, on=["profile_id", "target"], how="semi")["id"])


def finished(
    name: str,
    config: SyncConfig,
    builder: decide.Builder,
    now: datetime,
    *,
    profiles: int,
    told: int,
    without_record: int,
    standing: bool,
    sought: pl.DataFrame | None = None,
    overtaken: tuple[int, ...] = (),
) -> Plan:
    """The plan of what a builder has collected; see `Plan` for the rest."""
    changes = tuple(builder.changes)
    rows = plan_rows(config, changes, builder.obstacles)
    digest = plan_hash(name, config, rows)
    return Plan(
        sync=name,
        hash=digest,
        config=config.fingerprint,
        made_at=now,
        rows=rows.select(pl.lit(digest).alias("plan"), pl.all()),
        changes=changes,
        obstacles=tuple(builder.obstacles),
        stopped=tuple(_stopped(config, changes, told, profiles)),
        profiles=profiles,
        told=told,
        without_record=without_record,
        checked=builder.checked_rows(now),
        sought=pl.DataFrame() if sought is None else sought,
        standing=standing,
        overtaken=overtaken,
    )


def _stopped(
    config: SyncConfig, changes: Sequence[Change], told: int, profiles: int
) -> Iterable[str]:
    limits = config.stop_if
    repeated = sum(c.repeated for c in changes)
    creates = sum(c.record_id is None for c in changes)
    if limits.changed and not limits.changed.allows(repeated, told):
        yield (
            f"{repeated} of {told} records told before would change; stop_if.changed is "
            f"{limits.changed}"
        )
    if limits.created and not limits.created.allows(creates, profiles):
        yield f"{creates} records would be created; stop_if.created is {limits.created}"
    yield from too_many_left(config, sum(c.left for c in changes), told, profiles)


def too_many_left(config: SyncConfig, left: int, told: int, profiles: int) -> Iterable[str]:
    """Why so many records may not be emptied or deleted at once."""
    limit = config.deleted_limit
    done = "taken off" if config.list_ else "deleted" if config.deletes else "emptied"
    what = f"{left} of {told} records told before would be {done}"
    if left and not profiles and config.stop_if.deleted is None:
        yield (
            f"the source has no profile at all, and {what}; where that is meant, set "
            "stop_if.deleted to 100%"
        )
    elif limit and not limit.allows(left, told) and (limit.share is None or left > 1):
        yield f"{what}, since their profiles left; stop_if.deleted is {limit}"


def letters_only(
    config: SyncConfig, letters: pl.DataFrame, changes: Sequence[Change]
) -> decide.Letters:
    """Changes that may be sent, and those that wait since they were refused before."""
    found = decide.Letters(config, letters)
    for change in changes:
        found.add(change)
    return found


def _complete(state: pl.LazyFrame, config: SyncConfig) -> pl.LazyFrame:
    """The state with `last_<field>` for each field: what needs no more telling under the field's
    policy, null where that is nothing."""
    have = set(state.collect_schema().names())
    columns = {last(f): settled(f, told.write) for f, told in config.fields.items()}
    columns |= {held(f): last(f) for f in gone.apart(config)}
    return state.with_columns(
        (pl.col(column) if column in have else pl.lit(None, dtype=pl.String)).alias(name)
        for name, column in columns.items()
    )


def _aged(state: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    age = pl.coalesce("told_at", "checked_at").cast(pl.Int64)
    told = pl.col("told_at").is_not_null()
    created, deleted = (pl.col(n).is_not_null() for n in ("created_at", "removed_at"))
    own = ("record", "object", "profile_id", "differs", *columns)
    return state.select(*own, age=age, told=told, created=created, deleted=deleted)


def _there(state: pl.LazyFrame, links: pl.LazyFrame) -> pl.LazyFrame:
    """The state without records that the sync deleted, unless identity sees them alive."""
    removed = pl.col("removed_at").is_not_null()
    ours = state.filter(removed).select("record").collect().lazy()
    alive = links.filter("live").join(ours, on="record", how="semi").select("record").collect()
    return state.filter(~removed | pl.col("record").is_in(alive["record"].implode()))


def owners(records: Sequence[str], inputs: Inputs, state: pl.LazyFrame) -> dict[str, int]:
    """Which profile has each of these records; those that nobody has are absent, and those of
    another entity belong to no profile's id (`FOREIGN`).

    inputs: of it links, redirects and foreign. state: rows of `syncs/<name>`.
    """
    if not records:
        return {}
    asked = pl.col("record").is_in(pl.Series(records, dtype=pl.String).implode())
    known = inputs.links.filter(asked & ~pl.col("dead")).select("record", "profile_id")
    foreign = inputs.foreign.filter(asked).select("record", profile_id=pl.lit(FOREIGN))
    mine = _owned(state.filter(asked), inputs)
    # Identity's word comes last, so it goes before the sync's own memory.
    return {r: int(p) for f in (mine, foreign, known) for r, p in f.collect().iter_rows()}


def _owned(state: pl.LazyFrame, inputs: Inputs) -> pl.LazyFrame:
    """record, profile_id of the records that this sync wrote, each with its profile's survivor."""
    return state.join(inputs.redirects, left_on="profile_id", right_on="old", how="left").select(
        "record", profile_id=pl.coalesce("new", "profile_id")
    )


def _worth_seeking(
    seekers: pl.DataFrame,
    config: SyncConfig,
    inputs: Inputs,
    state: pl.LazyFrame,
    now: datetime,
) -> tuple[pl.DataFrame, int]:
    """Those to be sought, with `may_create`; and how many were sought in vain before.

    Nobody is created who has a live record of another object there, or had one that somebody else
    deleted.
    """
    mine = list(config.objects)
    ours = state.filter(pl.col("removed_at").is_not_null())
    dead = inputs.links.filter(pl.col("dead") & pl.col("object").is_in(mine))
    dead = dead.join(ours, on="record", how="anti")
    elsewhere = inputs.links.filter(pl.col("live") & ~pl.col("object").is_in(mine))
    written = _owned(state, inputs).join(dead, on="record", how="semi")
    blocked = pl.concat([f.select("profile_id") for f in (elsewhere, dead, written)]).unique()
    may = pl.lit(config.creates is not None)
    seekers = (
        seekers.lazy()
        .join(blocked.with_columns(blocked=pl.lit(True)), on="profile_id", how="left")
        .with_columns(may_create=may & pl.col("blocked").is_null())
        .drop("blocked")
        .collect()
    )
    if not _seeks(config):
        return seekers, 0
    before = inputs.sought.select("profile_id", before="sought", before_at="at").collect()
    seekers = seekers.join(before, on="profile_id", how="left")
    fresh = pl.lit(_pulls_all(config, inputs)) | (pl.col("before_at") > now - SEEK_AGAIN)
    again = pl.col("may_create") | ~(fresh & (pl.col("before") == _sought(config))).fill_null(False)
    kept = seekers.filter(again)
    return kept.drop("before", "before_at"), seekers.height - kept.height


def _seeks(config: SyncConfig) -> bool:
    """Whether profiles without a known record are sought in the destination."""
    return bool(config.key or config.match_rule)


def _pulls_all(config: SyncConfig, inputs: Inputs) -> bool:
    """Whether every record that could be found is one that identity knows."""
    return all(o in inputs.pulled for o in config.objects)


def _sought(config: SyncConfig) -> pl.Expr:
    """Where a profile was sought, and by which values: other objects or fields are a new search."""
    rules = [rule[0] for rule in (config.key_rule, config.match_rule) if rule]
    where = pl.lit("\x1f".join([*config.targets, *rules, ""]))
    values = (pl.col(KEY).fill_null(""), pl.lit("\x1f"), pl.col(MATCH).fill_null(""))
    return pl.concat_str([where, *values])


def _adopted(found: Sought, source: str) -> pl.DataFrame:
    rows = [(p, ref(source, o, i), o, 1, rule) for p, (o, i, rule) in sorted(found.records.items())]
    schema = {
        "profile_id": pl.Int64,
        "record": pl.String,
        "object": pl.String,
        "count": pl.Int64,
        "rule": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def unkeyed(
    creatable: pl.DataFrame, config: SyncConfig, objects: Mapping[str, ObjectInfo]
) -> dict[int, str]:
    """Profiles that must not be created, and why: without the key, or with one that is doubled."""
    refused: dict[int, str] = {}
    info = objects.get(config.creates or "")
    for rule, column in ((config.key_rule, KEY), (config.match_rule, MATCH)):
        if rule is None:
            continue
        values = dict(creatable.select("profile_id", column).iter_rows())
        field = info.fields.get(rule[0]) if info else None
        fold = field is None or not field.case_sensitive
        for profile_id in doubled(values, fold=fold):
            refused.setdefault(profile_id, f"several profiles have the same {rule[1]}")
        if column == KEY:
            for profile_id, found in values.items():
                if found is None:
                    refused.setdefault(profile_id, f"{rule[1]} is null, and it is the key")
    return refused
