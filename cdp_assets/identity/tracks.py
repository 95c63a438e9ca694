"""What events say beside links: who was logged in on a shared device, who belongs to a group."""

from __future__ import annotations

from collections.abc import Mapping

import narwhals as nw
import polars as pl

from cdp_assets.events.tables import EVENTS, by_people
from cdp_assets.identity.rules import EntityRules, TypeRules
from cdp_assets.identity.tables import GRAPH, GROUPS, LINKS, LOGINS, TS
from cdp_assets.identity.transforms import login_intervals
from cdp_assets.lake import Lake


def shared_devices(lake: Lake, entity: str, weak: TypeRules | str) -> pl.DataFrame:
    """Devices that link to more than one profile.

    Only a refused link can lead a device beyond its own profile. Returns identifier String.
    """
    prefix = (weak if isinstance(weak, str) else weak.name) + ":"
    refused = (
        lake.open(LINKS)
        .scan()
        .filter((pl.col("entity") == entity) & (pl.col("state") == "refused"))
        .select("left", "right")
        .collect()
    )
    both = pl.concat([refused, refused.select(left="right", right="left")])
    ends = both.filter(
        pl.col("left").str.starts_with(prefix) & ~pl.col("right").str.starts_with(prefix)
    ).rename({"left": "device", "right": "other"})
    if ends.is_empty():
        return pl.DataFrame(schema={"identifier": pl.String()})
    wanted = pl.concat([ends["device"], ends["other"]]).unique().alias("identifier").to_frame()
    graph = (
        lake.open(GRAPH)
        .scan()
        .filter(pl.col("entity") == entity)
        .join(wanted.lazy(), on="identifier", how="semi")
        .select("identifier", "profile_id")
        .collect()
    )
    return (
        ends.join(graph.rename({"identifier": "other", "profile_id": "theirs"}), on="other")
        .join(graph.rename({"identifier": "device", "profile_id": "own"}), on="device", how="left")
        .filter(pl.col("theirs").ne_missing(pl.col("own")))
        .select(identifier="device")
        .unique()
        .sort("identifier")
    )


def track_logins(lake: Lake, rules: EntityRules, *, anew: bool = False) -> bool:
    """Bring identity/logins up to the events and the graph, for devices that several people use.

    A device with new events, or one newly found to be shared, is read anew from all its events.
    Returns whether anything was committed.
    """
    user, device = rules.of_event_column("user_id"), rules.of_event_column("anonymous_id")
    if user is None or device is None:
        return False
    table, events = lake.open(LOGINS), lake.open(EVENTS)
    inputs = {EVENTS.key: events.seq(), LINKS.key: lake.open(LINKS).seq()}
    if not anew and all(table.watermark(name) == seq for name, seq in inputs.items()):
        return False
    shared = shared_devices(lake, rules.entity, device).select(
        anonymous_id=pl.col("identifier").str.strip_prefix(device.name + ":")
    )
    known = table.scan().select("anonymous_id").unique().collect()
    news = (
        events.changes(table.watermark(EVENTS.key), upto=inputs[EVENTS.key])
        .select(anonymous_id=device.spelling(pl.col("anonymous_id")))
        .join(shared.lazy(), on="anonymous_id", how="semi")
        .unique()
        .collect()
    )
    fresh = shared if anew else pl.concat([news, shared.join(known, on="anonymous_id", how="anti")])
    ended = known.join(shared, on="anonymous_id", how="anti")
    scope = pl.concat([fresh, ended]).unique()
    if scope.is_empty():
        table.merge(pl.DataFrame(schema=dict(LOGINS.schema)), watermarks=inputs)
        return True
    found = (
        events.scan(upto=inputs[EVENTS.key])
        .filter(by_people())
        .select(
            "event",
            "timestamp",
            anonymous_id=device.spelling(pl.col("anonymous_id")),
            user_id=user.spelling(pl.col("user_id")),
        )
        .join(fresh.unique().lazy(), on="anonymous_id", how="semi")
    ).collect()
    # What identifies nobody logs nobody in.
    found = found.with_columns(
        user_id=user.spell(found["user_id"]).str.strip_prefix(user.name + ":")
    )
    intervals = login_intervals(nw.from_native(found.lazy()), rules.logout)
    rows = nw.to_native(intervals).select(LOGINS.schema.keys()).collect()
    # A shared device on which nobody ever logged in has a row too: readers of this table learn
    # from it that the device's events are nobody's.
    silent = (
        found.join(rows, on="anonymous_id", how="anti")
        .group_by("anonymous_id")
        .agg(pl.col("timestamp").min().alias("from"))
        .with_columns(user_id=pl.lit(None, pl.String), to=pl.lit(None, TS))
    )
    rows = pl.concat([rows, silent.select(rows.columns)])
    table.replace(rows, scope=scope, watermarks=inputs)
    return True


def track_groups(lake: Lake, rules: Mapping[str, EntityRules], *, anew: bool = False) -> bool:
    """Bring identity/groups up to the events: which user was named together with which group.

    Returns whether anything was committed.
    """
    user = rules["person"].of_event_column("user_id")
    group = rules["account"].of_event_column("group_id")
    if user is None or group is None:
        return False
    table, events = lake.open(GROUPS), lake.open(EVENTS)
    upto = events.seq()
    after = 0 if anew else table.watermark(EVENTS.key)
    if upto == after and not anew:
        return False
    found = (
        events.changes(after, upto=upto)
        .filter(pl.col("user_id").is_not_null() & pl.col("group_id").is_not_null() & by_people())
        .group_by("user_id", "group_id")
        .agg(
            first_seen=pl.col("timestamp").min(),
            last_seen=pl.col("timestamp").max(),
            count=pl.len().cast(pl.Int64),
        )
        .collect()
    )
    found = found.with_columns(
        person=user.spell(found["user_id"]), account=group.spell(found["group_id"])
    ).drop_nulls(["person", "account"])
    stored = table.scan().select(GROUPS.schema.keys())
    if anew:
        scope = pl.concat([stored.select("person").collect(), found.select("person")]).unique()
    else:
        before = stored.join(found.lazy(), on=["person", "account"], how="semi").collect()
        found = pl.concat([found.select(GROUPS.schema.keys()), before])
    rows = (
        found.group_by("person", "account")
        .agg(pl.col("first_seen").min(), pl.col("last_seen").max(), pl.col("count").sum())
        .select(GROUPS.schema.keys())
    )
    marks = {EVENTS.key: upto}
    if anew and scope.height:
        table.replace(rows, scope=scope, watermarks=marks)
    else:
        table.merge(rows, watermarks=marks)
    return True
