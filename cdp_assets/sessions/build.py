"""Sessions and page views of all devices, kept equal to what a rebuild would give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Commit, Lake, OpenTable
from cdp_assets.sessions.config import SessionsConfig
from cdp_assets.sessions.cut import COLUMNS, Rules, taking_part
from cdp_assets.sessions.engagement import Told, told_seconds, with_told
from cdp_assets.sessions.origins import Own
from cdp_assets.sessions.tables import BUILDS, PAGE_VIEWS, SESSIONS
from cdp_assets.sessions.visits import RULES_VERSION, Visits, visits
from cdp_assets.settings import crash_point

STEP = "sessions"
NUMBER = "build"
"""Watermark of both tables: the number of the build that made them."""
CHUNK = 3_000_000
"""Events that are held at once in a full build."""


@dataclass(frozen=True)
class SessionsResult:
    """What a build did. full: whether all devices were read, not only those with news. devices:
    how many were. sessions, page_views: rows that came, went or changed. events: interactions and
    heartbeats that were read; unplaced: heartbeats that belong to no session."""

    full: bool
    devices: int = 0
    events: int = 0
    unplaced: int = 0
    sessions: int = 0
    page_views: int = 0


def rules_of(config: SessionsConfig, timezone: str) -> Rules:
    """The rules that a configuration comes to; timezone: where it names none."""
    return Rules(
        timeout=int(config.timeout.total_seconds()) * 1_000_000,
        heartbeat=int(config.heartbeat.total_seconds()) * 1_000_000,
        midnight=config.midnight,
        campaign_change=config.campaign_change,
        zone=config.timezone or timezone,
        own=Own(tuple(config.domains), tuple(config.ignore_referrers)),
        heartbeats=(*config.heartbeats, *(config.engagement or ())[:1]),
    )


def build(lake: Lake, config: SessionsConfig, *, timezone: str = "UTC") -> SessionsResult:
    """Bring `sessions` and `sessions/page_views` up to the events.

    Only devices with new events are read, all of their events; every device at the first build,
    after the rules changed, where events that were read are gone, and where a build was killed
    half-way under other rules. With nothing new, nothing is written.
    """
    rules = rules_of(config, timezone)
    with lake.step(STEP):
        told = told_seconds(lake, config.engagement)
        said = f"{RULES_VERSION} {rules} {told and (told.table, told.column)}"
        digest = hashlib.sha256(said.encode()).hexdigest()[:16]
        events, out, pages = lake.open(EVENTS), lake.open(SESSIONS), lake.open(PAGE_VIEWS)
        since, upto, number = out.watermark(EVENTS.key), events.seq(), out.watermark(NUMBER)
        last = lake.open(BUILDS).scan().filter(pl.col("build") == number).collect()
        same = (
            number > 0 and pages.watermark(NUMBER) == number and last["rules"].to_list() == [digest]
        )
        if same and since == upto:
            return SessionsResult(full=False)
        whole = events.scan(upto=upto)
        there, known = (
            whole.select(pl.len().alias("n"), (pl.col("_seq") <= since).sum().alias("known"))
            .collect()
            .row(0)
        )
        full = not same or last["events"].to_list() != [known]
        taking = whole.filter(taking_part(rules.heartbeats)).select(COLUMNS)
        if full:
            found, scope = _all(taking, there, rules, told), None
        else:
            news = _news(events, since, upto, rules)
            devices = news.select("anonymous_id").lazy()
            chosen = taking.join(devices, on="anonymous_id", how="semi")
            found = visits(with_told(chosen.collect(engine="streaming"), told), rules)
            found, scope = _narrowed(found, news, out)
        this = number + 1
        row = {"build": this, "rules": digest, "events": there}
        lake.open(BUILDS).merge(pl.DataFrame([row], schema=dict(BUILDS.schema)))
        marks = {EVENTS.key: upto, NUMBER: this}
        crash_point("sessions:before-pages")
        views = _put(pages, found.page_views, scope, marks)
        crash_point("sessions:after-pages")
        marks[PAGE_VIEWS.key] = pages.seq()
        changed = _put(out, found.sessions, scope, marks)
        crash_point("sessions:after-sessions")
    return SessionsResult(
        full=full,
        devices=found.sessions["visitor"].n_unique() if scope is None else news.height,
        events=found.interactions + found.heartbeats,
        unplaced=found.unplaced,
        sessions=changed,
        page_views=views,
    )


def _all(taking: pl.LazyFrame, count: int, rules: Rules, told: Told | None) -> Visits:
    """Visits of all devices, some of the devices at a time."""
    parts = list(_parts(taking, count, rules, told))
    return Visits(
        pl.concat([part.sessions for part in parts]),
        pl.concat([part.page_views for part in parts]),
        sum(part.interactions for part in parts),
        sum(part.heartbeats for part in parts),
        sum(part.unplaced for part in parts),
    )


def _parts(taking: pl.LazyFrame, count: int, rules: Rules, told: Told | None) -> Iterator[Visits]:
    pieces = -(-count // CHUNK) or 1
    for piece in range(pieces):
        mine = taking
        if pieces > 1:
            mine = taking.filter(pl.col("anonymous_id").hash() % pieces == piece)
        yield visits(with_told(mine.collect(engine="streaming"), told), rules)


def _news(events: OpenTable, since: int, upto: int, rules: Rules) -> pl.DataFrame:
    """anonymous_id of each device with new events that take part, and `first`, the earliest."""
    return (
        events.changes(since, upto=upto)
        .filter(taking_part(rules.heartbeats))
        .group_by("anonymous_id")
        .agg(pl.col("timestamp").min().alias("first"))
        .collect(engine="streaming")
    )


def _narrowed(found: Visits, news: pl.DataFrame, out: OpenTable) -> tuple[Visits, pl.DataFrame]:
    """The part of `found` that new events can have changed, and its scope (visitor, month).

    A new event changes the session that it falls into, the one before (whose heartbeats it may
    take over) and those that follow (by their number): nothing of the months before theirs.
    """
    touched = (
        found.sessions.lazy()
        .join(news.lazy(), left_on="visitor", right_on="anonymous_id")
        .with_columns(
            reached=pl.col("session_number")
            .filter(pl.col("started_at") <= pl.col("first"))
            .max()
            .over("visitor")
            .fill_null(1)
        )
        .filter(pl.col("session_number") >= pl.col("reached") - 1)
        .group_by("visitor")
        .agg(pl.col("month").min().alias("since"))
    )
    # Of a device without a session all that is stored goes.
    whose = (
        news.lazy()
        .select(pl.col("anonymous_id").alias("visitor"))
        .join(touched, on="visitor", how="left")
        .with_columns(pl.col("since").fill_null(date.min))
    )
    months = pl.concat([_months(out).lazy(), found.sessions.lazy().select("month")]).unique()
    scope = (
        whose.join(months, how="cross")
        .filter(pl.col("month") >= pl.col("since"))
        .select("visitor", "month")
        .collect()
    )
    keep = scope.lazy()
    return (
        replace(
            found,
            sessions=found.sessions.lazy()
            .join(keep, on=["visitor", "month"], how="semi")
            .collect(),
            page_views=found.page_views.lazy()
            .join(keep, on=["visitor", "month"], how="semi")
            .collect(),
        ),
        scope,
    )


def _months(table: OpenTable) -> pl.DataFrame:
    return table.scan().select("month").unique().collect(engine="streaming")


def _put(
    table: OpenTable, rows: pl.DataFrame, scope: pl.DataFrame | None, marks: dict[str, int]
) -> int:
    """Make the rows of `scope`, of the whole table where None, exactly `rows`; how many changed.

    The whole table is written month by month, which takes the memory of one. Page views name the
    build from their first month on: killed half-way, they differ from sessions in it, which the
    next build sees, and makes all anew.
    """
    if scope is not None and scope.height:
        return _changed(table.replace(rows, scope=scope, watermarks=marks))
    months = pl.concat([_months(table), rows.select("month")]).unique().sort("month")
    if scope is not None or months.is_empty():
        return _changed(table.merge(rows, watermarks=marks))
    begun = {NUMBER: marks[NUMBER]} if table.table.key == PAGE_VIEWS.key else None
    changed = 0
    for place in range(months.height):
        month = months[place]
        mine = rows.filter(pl.col("month") == month.item())
        last = place == months.height - 1
        done = table.replace(mine, scope=month, watermarks=marks if last else begun)
        changed += _changed(done)
        crash_point(f"sessions:after-{table.table.key}-month")
    return changed


def _changed(done: Commit) -> int:
    return done.inserted + done.updated + done.deleted
