"""Incremental equals full: whatever the order and batches, the tables are those of one build."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.lake import Lake
from cdp_assets.records import RELATION, TOLD, VALUES, build, entity_table
from cdp_assets_tests.records.world import CONTACT, LEAD, at, pull, version

TITLES = ["x", "y", None, "absent"]


@st.composite
def versions(draw: st.DrawFn) -> dict[str, Any]:
    op = draw(st.sampled_from(["upsert"] * 5 + ["delete", "merge"]))
    cursor = draw(st.sampled_from([0, 1, 2, 3, None]))
    extracted = draw(st.integers(cursor or 0, 4)) + draw(st.sampled_from([0.1, 0.2]))
    payload: dict[str, Any] = {"AccountId": draw(st.sampled_from(["A", "B", None]))}
    title = draw(st.sampled_from(TITLES))
    if title != "absent":
        payload["Title"] = title
    return version(
        draw(st.sampled_from(["1", "2"])),
        cursor,
        payload if op == "upsert" else None,
        op=op,
        merged_into="3" if op == "merge" else None,
        extracted=extracted,
    )


tells = st.lists(
    st.tuples(st.sampled_from(["1", "2"]), st.sampled_from(["x", "y", None]), st.integers(0, 4)),
    max_size=3,
)
TOLD_COLUMNS = ["id", "source", "object", "record_id", "field", "value", "told_at", "outcome"]


def ledger(rows: list[tuple[str, str | None, int]], known: int) -> pl.DataFrame:
    """The ledger with the first `known` rows; of later ones nothing is written yet."""
    found = [
        (n + 1, "salesforce", "Contact", record, "Title", value, at(hour + 0.05), "ok")
        for n, (record, value, hour) in enumerate(rows[:known])
    ]
    return pl.DataFrame(found, schema=TOLD_COLUMNS, orient="row") if found else pl.DataFrame()


def tables(lake: Lake) -> dict[str, list[Any]]:
    found = {}
    for table in (entity_table("person"), RELATION, VALUES, TOLD):
        key = list(table.primary_key)
        rows = lake.open(table).scan().drop("_seq").sort(key).collect()
        found[table.key] = rows.rows()
    return found


@given(st.lists(versions(), min_size=1, max_size=7), tells, st.data())
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_order_and_batches_give_the_tables_of_one_build(
    found: list[dict[str, Any]], told: list[tuple[str, str | None, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Lake(Path(folder, "one")), Lake(Path(folder, "other"))
        pull(one, CONTACT, *found)
        build(one, [CONTACT], ledger(told, len(told)) if told else None, at(9))
        shuffled = data.draw(st.permutations(found))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=2)))
        known = sorted(data.draw(st.lists(st.integers(0, len(told)), min_size=3, max_size=3)))
        for start, end, so_far in zip([0, *cuts], [*cuts, len(shuffled)], known, strict=False):
            if start < end:
                pull(other, CONTACT, *shuffled[start:end])
            rows = ledger(told, so_far)
            build(other, [CONTACT], rows if rows.height else None, at(9))
        build(other, [CONTACT], ledger(told, len(told)) if told else None, at(9))
        assert tables(other) == tables(one)


def test_an_old_version_pulled_late_takes_its_own_place(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    pull(lake, CONTACT, version("1", 5, {"Title": "new"}))
    build(lake, [CONTACT], None, at(6))
    pull(lake, CONTACT, version("1", 1, {"Title": "new"}, extracted=7))
    build(lake, [CONTACT], None, at(8))
    rows = lake.open(VALUES).scan().select("value", "changed_at", "current").collect().rows()
    assert rows == [("new", at(1), True)]
    person = lake.open(entity_table("person")).scan().collect()
    assert person["changed_at"].to_list() == [at(5)]


def test_objects_of_one_entity_do_not_disturb_each_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    pull(lake, CONTACT, version("1", 0, {"Email": "a@example.com"}))
    pull(lake, LEAD, version("1", 0, {"Email": "b@example.com"}))
    build(lake, [CONTACT, LEAD], None, at(1))
    pull(lake, LEAD, version("1", 2, {"Email": "c@example.com"}))
    build(lake, [CONTACT, LEAD], None, at(3))
    rows = lake.open(VALUES).scan().filter("current").sort("object").collect()
    assert rows["value"].to_list() == ["a@example.com", "c@example.com"]


def test_a_failed_tell_was_never_told(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    pull(lake, CONTACT, version("1", 0, {"Title": "old"}), version("1", 3, {"Title": "ours"}))
    rows = ledger([("1", "ours", 2)], 1)
    unknown = rows.with_columns(outcome=pl.lit(None, pl.String))
    asked: list[int] = []

    def told(after: int) -> pl.DataFrame:
        asked.append(after)
        return unknown

    build(lake, [CONTACT], told, at(4))
    build(lake, [CONTACT], told, at(4))
    assert asked == [0, 0], "an intent without outcome is asked for again"
    values = lake.open(VALUES).scan().sort("changed_at").select("value")
    assert values.collect()["value"].to_list() == ["old"]
    build(lake, [CONTACT], rows.with_columns(outcome=pl.lit("failed")), at(5))
    assert lake.open(TOLD).scan().collect().is_empty()
    found = lake.open(VALUES).scan().sort("changed_at").collect()["value"].to_list()
    assert found == ["old", "ours"], "what we never wrote is theirs after all"
