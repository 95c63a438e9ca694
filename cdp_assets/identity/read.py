"""Reading identity: whose events, who belongs to whom, who is meant."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import polars as pl

from cdp_assets.identity.config import IdentityConfig
from cdp_assets.identity.normalise import normalise
from cdp_assets.identity.rules import EventId, event_ids, stored_rules
from cdp_assets.identity.tables import GRAPH, GROUPS, IDS, LOGINS
from cdp_assets.identity.tracks import shared_devices
from cdp_assets.identity.transforms import NOBODY, attribution, primary
from cdp_assets.lake import Lake
from cdp_assets.records import RELATION


def members(lake: Lake, entity: str) -> pl.LazyFrame:
    """profile_id Int64, identifier String of every profile of an entity."""
    graph = lake.open(GRAPH).scan().filter(pl.col("entity") == entity)
    return graph.select("profile_id", "identifier")


def identifying_fields(lake: Lake, entity: str) -> frozenset[str]:
    """Fields (`salesforce.Contact.Email`) that hold the entity's identifiers, by the rules of the
    last resolution."""
    return frozenset(stored_rules(lake, entity)["sources"].explode().drop_nulls())


def attribute(lake: Lake, events: pl.LazyFrame) -> pl.LazyFrame:
    """Whom events belong to: the one answer that everything uses.

    events: user_id, anonymous_id String, timestamp Datetime[us, UTC], and any other columns.

    Adds profile_id Int64: that of its user; else that of its device, if that links to one
    profile; on a device that several people use that of who was logged in then, from log-in to
    log-out or the next log-in; else nobody (null).
    """
    ids = event_ids(lake, "person")
    user, device = ids.get("user_id"), ids.get("anonymous_id")
    graph = lake.open(GRAPH).scan().filter(pl.col("entity") == "person")
    users = _keys(graph, user, "user_key", "user_profile")
    devices = _keys(graph, device, "device_key", "device_profile")
    shared = (shared_devices(lake, "person", device.name) if device else _NO_DEVICE).select(
        device_key=pl.col("identifier").str.replace(r"^[^:]*:", "")
    )
    logins = (
        lake.open(LOGINS)
        .scan()
        .join(users, left_on="user_id", right_on="user_key", how="left")
        .select(
            "from",
            "to",
            device="anonymous_id",
            profile_id=pl.col("user_profile").fill_null(NOBODY),
        )
    )
    none = pl.lit(None, pl.String)
    keyed = events.with_columns(
        user_key=user.spelling(pl.col("user_id")) if user else none,
        device_key=device.spelling(pl.col("anonymous_id")) if device else none,
    )
    frames: list[Any] = [
        nw.from_native(frame)
        for frame in (
            keyed,
            users,
            devices.join(shared.lazy(), on="device_key", how="anti"),
            shared.lazy(),
            logins,
        )
    ]
    return nw.to_native(attribution(*frames))  # type: ignore[no-any-return]


_NO_DEVICE = pl.DataFrame(schema={"identifier": pl.String()})


def _keys(graph: pl.LazyFrame, kind: EventId | None, key: str, profile: str) -> pl.LazyFrame:
    mine = graph.filter(pl.col("type") == kind.name) if kind else graph.filter(pl.lit(value=False))
    return mine.select(
        pl.col("identifier").str.replace(r"^[^:]*:", "").alias(key),
        pl.col("profile_id").alias(profile),
    )


def related(lake: Lake, entity: str, other: str) -> pl.LazyFrame:
    """The one profile of `other` that each profile of `entity` belongs to.

    From the records' relations of the kind `other` (`account`), and for a person's account from
    the groups that events name. Where there are several: a record's primary one first, then
    its others, then what events say; of those the one named most often, then the smallest id.

    Returns `<entity>_id`, `<other>_id` Int64; profiles that belong to none are left out.
    """
    own = members(lake, entity).rename({"profile_id": "subject"})
    theirs = members(lake, other).rename({"profile_id": "target"})
    pointed = (
        lake.open(RELATION)
        .scan()
        .filter(pl.col("kind") == other)
        .select("from", "to", rank=pl.when(pl.col("primary")).then(0).otherwise(1).cast(pl.Int64))
    )
    pairs = [pointed]
    if (entity, other) == ("person", "account"):
        named = lake.open(GROUPS).scan()
        pairs.append(
            named.select(
                pl.col("person").alias("from"),
                pl.col("account").alias("to"),
                rank=pl.lit(2, pl.Int64),
            )
        )
    found = (
        pl.concat(pairs)
        .join(own, left_on="from", right_on="identifier")
        .join(theirs, left_on="to", right_on="identifier")
        .select("subject", "target", "rank")
    )
    chosen: pl.LazyFrame = nw.to_native(primary(nw.from_native(found)))
    return chosen.rename({"subject": f"{entity}_id", "target": f"{other}_id"})


def lookup(lake: Lake, entity: str, text: str) -> list[int]:
    """Profiles that a text may mean: an identifier (`email:ada@example.com`), any value of one,
    a record's id, or a profile id, retired ones followed. Sorted; empty where there is none.

    `profile:5` is the profile with the id 5 and nothing else. A bare `5` is that profile too, and
    every other one that has a record or an identifier of this value.
    """
    text = text.strip()
    if (exact := _profile_id(text.removeprefix("profile:"))) is not None and ":" in text:
        return sorted(follow(lake, entity, exact))
    rules = stored_rules(lake, entity)
    wanted = {text}
    for kind, region, given in _readings(rules, text):
        value = normalise(pl.Series([given]), kind, region=region)[0]
        if value is not None:
            wanted.add(f"{kind}:{value}")
    graph = lake.open(GRAPH).scan().filter(pl.col("entity") == entity)
    meant = pl.col("identifier").is_in(sorted(wanted))
    # A record by its bare id; of Salesforce also in the short form without the checksum.
    of_record = pl.col("type").str.contains(".", literal=True)
    meant |= of_record & pl.col("identifier").str.ends_with(":" + text)
    if len(text) == 15 and text.isalnum():
        meant |= of_record & pl.col("identifier").str.contains(f":{text}[A-Z0-5]{{3}}$")
    found = set(graph.filter(meant).select("profile_id").collect()["profile_id"])
    if (exact := _profile_id(text)) is not None:
        found |= follow(lake, entity, exact)
    return sorted(found)


def _profile_id(text: str) -> int | None:
    """The number that a text may be of a profile; 19 digits and more are none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _readings(rules: pl.DataFrame, text: str) -> list[tuple[str, str | None, str]]:
    """(type, region, value) by which a text may be read."""
    kinds = list(rules.select("type", "region").iter_rows())
    named, _, rest = text.partition(":")
    exact = [(kind, region, rest) for kind, region in kinds if kind == named and rest]
    return exact or [(kind, region, text) for kind, region in kinds]


def over_limits(lake: Lake, config: IdentityConfig) -> int:
    """How many times a profile holds more identifiers of a type than `limit` of that type allows,
    counted over all entities; 0 if all is well."""
    limits = [
        (entity, kind, identifier.limit)
        for entity, own in config.entities.items()
        for kind, identifier in own.identifiers.items()
        if identifier.limit is not None
    ]
    schema = {"entity": pl.String, "type": pl.String, "limit": pl.Int64}
    limited = pl.LazyFrame(limits, schema=schema, orient="row")
    held = lake.open(GRAPH).scan().group_by("entity", "profile_id", "type").len()
    over = held.join(limited, on=["entity", "type"]).filter(pl.col("len") > pl.col("limit"))
    return int(over.select(pl.len()).collect().item())


def follow(lake: Lake, entity: str, profile_id: int) -> set[int]:
    """The living profile that an id leads to, as a set; empty where it leads nowhere."""
    ledger = lake.open(IDS).scan().filter(pl.col("entity") == entity)
    graph = lake.open(GRAPH).scan().filter(pl.col("entity") == entity)
    seen: set[int] = set()
    while profile_id not in seen:
        seen.add(profile_id)
        rows = ledger.filter(pl.col("profile_id") == profile_id).select("redirect_to").collect()
        onward = rows["redirect_to"].drop_nulls()
        if onward.is_empty():
            alive = graph.filter(pl.col("profile_id") == profile_id).head(1).collect().height
            return {profile_id} if alive else set()
        profile_id = int(onward[0])
    return set()
