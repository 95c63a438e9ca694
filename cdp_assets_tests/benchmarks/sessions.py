"""Sessions and page views beside hand-written DuckDB SQL over the same files, and a new day of
0.5 % of the events beside the full build."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from cdp_assets.events.enrich.kinds import COLUMNS
from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Lake
from cdp_assets.sessions import PAGE_VIEWS, SESSIONS, SessionsConfig, build
from cdp_assets_tests.benchmarks.base import Clock, Verdict, alone

NOW = datetime(2026, 7, 20, tzinfo=UTC)
DAYS = 200
EVENTS_EACH = 5
"""Events of a visit, on average."""
REFERRERS = (
    None, None, "https://www.google.com/", "https://www.bing.com/", "https://l.facebook.com/",
    "https://news.ycombinator.com/item?id=1", "https://partner.example.org/blog/post",
)  # fmt: skip
AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/149.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/149.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36 Chrome/149.0 Mobile Safari",
)
SQL = """
create table visit as
with e as (
    select *, type = 'page' as is_page,
        regexp_extract(referrer, '^[a-z]+://([^/?#:]+)', 1) as from_host,
        regexp_extract(page_url, '^[a-z]+://([^/?#:]+)', 1) as host,
        nullif(lower(regexp_extract(page_url, '[?&]utm_source=([^&#]*)', 1)), '') as us,
        nullif(lower(regexp_extract(page_url, '[?&]utm_medium=([^&#]*)', 1)), '') as um,
        nullif(lower(regexp_extract(page_url, '[?&]utm_campaign=([^&#]*)', 1)), '') as uc,
        nullif(regexp_extract(page_url, '[?&]gclid=([^&#]*)', 1), '') as gclid
    from read_parquet({files})
    where anonymous_id is not null and not list_contains(flags, 'bot')
        and (type in ('page', 'screen') or (type = 'track' and page_url <> ''))
), told as (
    select *, case when us is not null or um is not null or uc is not null or gclid is not null
        then concat_ws('|', us, um, uc, gclid is not null) end as campaign
    from e
), gaps as (
    select *, coalesce(timestamp - lag(timestamp) over w > interval 30 minutes, true) as gap
    from told window w as (partition by anonymous_id order by timestamp, message_id)
), runs as (
    select *, sum(gap::int) over (partition by anonymous_id order by timestamp, message_id
        rows unbounded preceding) as run
    from gaps
), carried as (
    select *, last_value(campaign ignore nulls) over (partition by anonymous_id, run
        order by timestamp, message_id rows between unbounded preceding and 1 preceding) as before
    from runs
)
select *, sum((gap or (campaign is not null and campaign is distinct from before))::int) over
    (partition by anonymous_id order by timestamp, message_id rows unbounded preceding) as number
from carried;
create table page_view as
select anonymous_id, number, message_id, source, user_id, timestamp, page_url, host, page_path,
    page_title, referrer, row_number() over w as page_view_number,
    epoch_us(lead(timestamp) over w) - epoch_us(timestamp) as on_page,
    row_number() over w = 1 as entrance, lead(timestamp) over w is null as leaving
from visit where is_page
window w as (partition by anonymous_id, number order by timestamp, message_id);
create table session as
select anonymous_id, number, min(timestamp) as started_at, max(timestamp) as ended_at,
    count(*) as events, count(*) filter (is_page) as page_views,
    arg_min(source, timestamp) as source, arg_min(user_id, timestamp) as user_id,
    arg_min(page_url, timestamp) filter (is_page) as landing_url,
    arg_min(host, timestamp) filter (is_page) as landing_host,
    arg_min(page_path, timestamp) filter (is_page) as landing_path,
    arg_min(page_title, timestamp) filter (is_page) as landing_title,
    arg_max(page_url, timestamp) filter (is_page) as exit_url,
    arg_max(page_path, timestamp) filter (is_page) as exit_path,
    arg_min(user_agent, timestamp) as user_agent,
    arg_min(referrer, timestamp) filter (from_host <> '' and from_host <> host) as referrer,
    arg_min(from_host, timestamp) filter (from_host <> '' and from_host <> host) as from_host,
    arg_min(us, timestamp) filter (campaign is not null) as us,
    arg_min(um, timestamp) filter (campaign is not null) as um,
    arg_min(uc, timestamp) filter (campaign is not null) as uc,
    arg_min(gclid, timestamp) filter (campaign is not null) as gclid
from visit group by anonymous_id, number;
create table sessions as
select *, case when gclid is not null then 'Paid Search'
    when um similar to '.*cp.*|ppc|retargeting|paid.*' and us in ('google', 'bing')
        then 'Paid Search'
    when um similar to '.*cp.*|ppc|retargeting|paid.*' then 'Paid Other'
    when um = 'email' or us = 'email' then 'Email'
    when from_host similar to '.*(google|bing)\\..*' or um = 'organic' then 'Organic Search'
    when from_host similar to '.*(facebook|ycombinator)\\..*' or um = 'social' then 'Organic Social'
    when us is not null then 'Unassigned'
    when from_host is not null then 'Referral' else 'Direct' end as channel
from session;
"""


def events(visits: int, day: int | None, seed: int) -> pl.DataFrame:
    """Events of so many visits, in days of 200 or all in one."""
    dice = np.random.default_rng(seed)
    devices = max(visits // 2, 1)
    device = dice.integers(0, devices, visits) + (seed // 100) * 10_000_000
    days = dice.integers(0, DAYS, visits) if day is None else np.full(visits, day)
    start = days * 86_400_000_000 + dice.integers(0, 80_000_000_000, visits)
    size = dice.integers(1, 2 * EVENTS_EACH, visits)
    visit = np.repeat(np.arange(visits), size)
    total = len(visit)
    place = np.arange(total) - np.repeat(np.cumsum(size) - size, size)
    page = (place == 0) | (dice.random(total) < 0.6)
    begin = NOW - timedelta(days=DAYS)
    frame = pl.DataFrame(
        {
            "n": np.arange(total) + seed * 100_000_000,
            "device": device[visit],
            "micros": start[visit] + place * 45_000_000 + dice.integers(0, 40_000_000, total),
            "page": page,
            "path": dice.integers(0, 5_000, total),
            "first": place == 0,
            "tag": dice.integers(0, 20, visits)[visit],
            "referrer": pl.Series(list(REFERRERS))[dice.integers(0, len(REFERRERS), visits)[visit]],
            "user_agent": pl.Series(list(AGENTS))[device[visit] % len(AGENTS)],
            "known": device[visit] % 5 == 0,
        }
    )
    moment = pl.lit(begin).dt.cast_time_unit("us") + pl.duration(microseconds="micros")
    path = pl.concat_str(pl.lit("/products/item-"), pl.col("path"))
    query = (
        pl.when(pl.col("first") & (pl.col("tag") == 0))
        .then(pl.lit("?utm_source=Newsletter&utm_medium=email&utm_campaign=Spring"))
        .when(pl.col("first") & (pl.col("tag") == 1))
        .then(pl.concat_str(pl.lit("?gclid=Cj0KCQ"), pl.col("n")))
        .otherwise(pl.lit(""))
    )
    text = pl.lit(None, pl.String)
    return frame.select(
        message_id=pl.concat_str(pl.lit("ajs-next-9527e97fc714abe02a23b3d"), pl.col("n")),
        source=pl.lit("web"),
        type=pl.when("page").then(pl.lit("page")).otherwise(pl.lit("track")),
        event=pl.when("page").then(text).otherwise(pl.lit("Product Clicked")),
        anonymous_id=pl.concat_str(pl.lit("5f0e1b2c-anonymous-device-"), pl.col("device")),
        user_id=pl.when("known").then(pl.concat_str(pl.lit("u"), pl.col("device"))),
        group_id=text,
        visitor=pl.concat_str(pl.lit("5f0e1b2c-anonymous-device-"), pl.col("device")),
        original_at=moment,
        sent_at=moment,
        received_at=moment,
        timestamp=moment,
        event_day=moment.dt.date(),
        page_url=pl.concat_str(pl.lit("https://www.example.com"), path, query),
        page_path=path,
        page_title=pl.concat_str(pl.lit("Item "), pl.col("path")),
        referrer=pl.when("first").then("referrer").otherwise(pl.lit("https://www.example.com/")),
        campaign_source=text,
        campaign_medium=text,
        campaign_name=text,
        ip=text,
        user_agent="user_agent",
        purpose=text,
        origin=pl.lit("file"),
        row_number=pl.col("n").cast(pl.Int64),
        flags=pl.lit([], pl.List(pl.String)),
        payload=pl.lit("{}"),
        **dict.fromkeys(COLUMNS, text),
    )


def prepare(clock: Clock, folder: str, visits: int) -> int:
    """Fill table events; how many there are."""
    table, step, total = Lake(Path(folder)).open(EVENTS), 200_000, 0
    for seed, start in enumerate(range(0, visits, step)):
        rows = events(min(step, visits - start), None, seed)
        table.append(rows)
        total += rows.height
    return total


def full(clock: Clock, folder: str) -> tuple[int, ...]:
    """The full build: sessions, page views, those of Paid Search."""
    lake = Lake(Path(folder))
    with clock:
        build(lake, SessionsConfig())
    paid = (pl.col("channel") == "Paid Search").sum()
    sessions = lake.open(SESSIONS).scan().select(pl.len(), paid.alias("paid")).collect().row(0)
    return (*sessions, lake.open(PAGE_VIEWS).scan().select(pl.len()).collect().item())


def duckdb_sql(clock: Clock, folder: str) -> tuple[int, ...]:
    """The same by hand."""
    handle = Lake(Path(folder)).handle(EVENTS.key)
    assert handle is not None
    files = json.dumps(handle.file_uris()).replace('"', "'")
    with tempfile.TemporaryDirectory() as spill:
        connection = duckdb.connect(str(Path(spill, "by_hand.duckdb")))
        connection.execute("set threads = 2; set timezone = 'UTC'")
        connection.execute("set enable_progress_bar = false; set memory_limit = '14GB'")
        with clock:
            connection.execute(SQL.format(files=files))
        counted = connection.execute(
            "select count(*), count(*) filter (channel = 'Paid Search'), "
            "(select count(*) from page_view) from sessions"
        ).fetchall()[0]
        connection.close()
    return tuple(int(x) for x in counted)


def new_day(clock: Clock, folder: str, visits: int) -> int:
    """A day of 0.5 % of the visits; sessions that changed."""
    lake = Lake(Path(folder))
    lake.open(EVENTS).append(events(visits // 200, DAYS + 1, 7))
    with clock:
        done = build(lake, SessionsConfig())
    assert not done.full
    return done.sessions


def run(size: float = 1.0) -> list[Verdict]:
    """20 million events of four million visits, or that part of it."""
    visits = int(4_000_000 * size)
    with tempfile.TemporaryDirectory() as folder:
        count = alone(prepare, folder, visits).value
        sql, built = alone(duckdb_sql, folder), alone(full, folder)
        day = alone(new_day, folder, visits)
    assert built.value == sql.value, f"both ways must find the same: {built.value}, {sql.value}"
    return [
        Verdict(
            f"{built.value[0]:,} sessions and {built.value[2]:,} page views of {count:,} events",
            "no slower than DuckDB",
            f"{built.said()}, peak {built.peak_mb / 1024:.1f} GB; hand-written SQL "
            f"{sql.said()}, peak {sql.peak_mb / 1024:.1f} GB: "
            f"{built.seconds / sql.seconds:.2f} times its time",
            built.seconds <= sql.seconds,
        ),
        Verdict(
            "a new day of 0.5 % of the visits",
            "",
            f"{day.said()}, {day.seconds / built.seconds:.1%} ({day.value:,} sessions written, "
            f"peak {day.peak_mb / 1024:.1f} GB)",
        ),
    ]
