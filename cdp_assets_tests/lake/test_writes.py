"""What each verb does, and that doing it again does nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from cdp_assets.lake import (
    KeyViolation,
    Lake,
    LakeError,
    SchemaError,
    ScopeError,
    StaleWatermark,
    Table,
)

from .conftest import NOW
from .tables import EVENTS, PEOPLE, events, ids, people


def test_a_table_that_does_not_exist_reads_as_empty(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    assert (table.exists(), table.seq(), table.watermark("events")) == (False, 0, 0)
    assert table.scan().collect_schema().names() == [*PEOPLE.schema, "_seq"]
    assert table.changes(0).collect_schema().names() == [*PEOPLE.schema, "_seq", "deleted_at"]
    assert table.scan().collect().is_empty()
    assert not lake.root.exists()
    assert lake.keys() == []


def test_append_assigns_seq_and_returns_counts(lake: Lake) -> None:
    table = lake.open(EVENTS)
    first = table.append(events("a", "b"))
    second = table.append(events("c"))
    assert (first.seq, first.inserted, second.seq) == (1, 2, 2)
    assert table.seq() == 2
    assert table.scan().collect().sort("message_id")["_seq"].to_list() == [1, 1, 2]
    assert lake.keys() == ["events"]


def test_merge_leaves_rows_alone_whose_content_is_the_same(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    rows = people(id=["a", "b", "c"], age=[1, None, 3], tags=[["x"], None, []])
    first = table.merge(rows)
    again = table.merge(rows)
    assert (again.unchanged, again.inserted, again.updated, again.seq) == (3, 0, 0, 1)
    assert again.version == first.version
    assert table.changes(1).collect().is_empty()
    changed = rows.with_columns(
        age=pl.Series([1, None, 4]), tags=pl.Series([["x"], [None], []], dtype=pl.List(pl.String))
    )
    done = table.merge(changed)
    assert (done.unchanged, done.updated, done.seq) == (1, 2, 2)
    assert sorted(table.changes(1).collect()["id"]) == ["b", "c"]


def test_stamps_alone_are_no_change_but_are_kept_with_one(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    later = NOW + timedelta(days=1)
    table.merge(people(id=["a", "b"], age=[1, 1], extracted_at=[NOW, NOW]))
    done = table.merge(people(id=["a", "b"], age=[1, 2], extracted_at=[later, later]))
    assert (done.unchanged, done.updated) == (1, 1)
    stamps = dict(table.scan().select("id", "extracted_at").collect().iter_rows())
    assert stamps == {"a": NOW, "b": later}


def test_a_column_left_out_is_null_and_an_all_null_one_takes_the_declared_type(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    table.merge(pl.DataFrame({"id": ["a"], "age": [None]}))
    assert table.scan().collect().row(0) == ("a", None, None, None, None, 1)


def test_delete_leaves_a_tombstone_and_merge_revives_it(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    rows = people(id=["a", "b"], age=[1, 2])
    table.merge(rows)
    done = table.delete(pl.DataFrame({"id": ["a", "unknown", "a"]}))
    assert (done.deleted, done.seq) == (1, 2)
    assert ids(table) == ["b"]
    feed = table.changes(1).collect()
    assert feed.select("id", "age", "_seq", "deleted_at").rows() == [("a", 1, 2, NOW)]
    assert table.delete(pl.DataFrame({"id": ["a"]})).version == done.version
    revived = table.merge(rows)
    assert (revived.inserted, revived.unchanged) == (1, 1)
    assert ids(table) == ["a", "b"]
    assert table.changes(2).collect()["deleted_at"].to_list() == [None]


def test_replace_by_key_prefix(lake: Lake) -> None:
    table = lake.open(
        Table(
            key="values",
            schema={"record": pl.String, "at": pl.Int64, "value": pl.String},
            primary_key=("record", "at"),
        )
    )
    old = pl.DataFrame({"record": ["a", "a", "b"], "at": [1, 2, 1], "value": ["x", "y", "z"]})
    table.merge(old)
    new = pl.DataFrame({"record": ["a", "a"], "at": [2, 3], "value": ["y", "w"]})
    done = table.replace(new, scope=pl.DataFrame({"record": ["a"]}))
    assert (done.inserted, done.updated, done.deleted, done.unchanged) == (1, 0, 1, 1)
    rows = table.scan().select("record", "at", "value").collect().sort("record", "at").rows()
    assert rows == [("a", 2, "y"), ("a", 3, "w"), ("b", 1, "z")]
    assert table.replace(new, scope=pl.DataFrame({"record": ["a"]})).version == done.version
    assert table.replace(new.clear(), scope=pl.DataFrame({"record": ["a"]})).deleted == 2
    assert table.scan().collect()["record"].to_list() == ["b"]


def test_replace_of_a_partition_moves_a_key_from_another(lake: Lake) -> None:
    table = lake.open(
        Table(
            key="k",
            schema={"id": pl.String, "day": pl.Date},
            primary_key=("id",),
            partition_by=("day",),
        )
    )
    one, two = date(2026, 1, 1), date(2026, 1, 2)
    table.merge(pl.DataFrame({"id": ["a", "b", "c"], "day": [one, one, two]}))
    table.replace(pl.DataFrame({"id": ["c"], "day": [one]}), scope=pl.DataFrame({"day": [one]}))
    assert table.scan().collect().select("id", "day").rows() == [("c", one)]
    gone = table.changes(1).filter(pl.col("deleted_at").is_not_null()).collect()
    assert sorted(gone["id"]) == ["a", "b"]


def test_replace_of_partitions_without_key(lake: Lake) -> None:
    table = lake.open(EVENTS)
    one, two = date(2026, 1, 1), date(2026, 1, 2)
    table.append(
        pl.concat([events("a", "b", day=one), events("c", day=two), events("n", day=None)])
    )
    same = table.replace(events("b", "a", day=one), scope=pl.DataFrame({"event_day": [one]}))
    assert (same.version, same.unchanged) == (1, 2)
    done = table.replace(events("a", "z", day=one), scope=pl.DataFrame({"event_day": [one]}))
    assert (done.inserted, done.deleted, done.seq) == (2, 2, 2)
    assert ids(table, "message_id") == ["a", "c", "n", "z"]
    null = pl.DataFrame({"event_day": [None]}, schema={"event_day": pl.Date})
    table.replace(events(), scope=null)
    assert ids(table, "message_id") == ["a", "c", "z"]


@pytest.mark.parametrize(
    "days",
    [[1, 1, 2, 3], [2, 1, 2, 1], [3, 2, 1], [None, 1, 1], [1, None, 1], [1, 1, None], [None]],
)
def test_each_partition_is_one_file_with_its_rows_in_their_order(
    lake: Lake, days: list[int | None]
) -> None:
    # rows that come by day are cut where it changes, others are gathered
    made = [date(2026, 1, day) if day else None for day in days]
    rows = pl.DataFrame(
        {"message_id": [f"m{n}" for n in range(len(days))], "event_day": made, "payload": "x"},
        schema=dict(EVENTS.schema),
    )
    table = lake.open(EVENTS)
    table.append(rows)
    assert len(list((lake.root / "events.delta").rglob("*.parquet"))) == len(set(days))
    found = table.scan().collect()
    for day in set(made):
        mine = pl.col("event_day").eq_missing(pl.lit(day, pl.Date))
        assert found.filter(mine)["message_id"].to_list() == (
            rows.filter(mine)["message_id"].to_list()
        )


def test_a_scope_of_two_partition_columns_is_no_more_than_its_rows(lake: Lake) -> None:
    schema = {"a": pl.Int64, "b": pl.Int64, "x": pl.String}
    table = lake.open(Table(key="t", schema=schema, partition_by=("a", "b")))
    pairs = [(1, 1), (1, 2), (2, 1), (2, 2)]
    table.append(pl.DataFrame([(*p, "old") for p in pairs], schema=schema, orient="row"))
    new = pl.DataFrame([(1, 1, "new"), (2, 2, "new")], schema=schema, orient="row")
    table.replace(new, scope=new.select("a", "b"))
    rows = table.scan().select(*schema).collect().sort("a", "b").rows()
    assert rows == [(1, 1, "new"), (1, 2, "old"), (2, 1, "old"), (2, 2, "new")]


def test_rows_outside_the_scope_are_refused(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    with pytest.raises(ScopeError, match="1 of 2"):
        table.replace(people(id=["a", "b"]), scope=pl.DataFrame({"id": ["a"]}))
    with pytest.raises(ScopeError):
        table.replace(people(id=["a"]), scope=pl.DataFrame({"age": [1]}))
    with pytest.raises(ScopeError):
        lake.open(EVENTS).replace(events("a"), scope=pl.DataFrame({"message_id": ["a"]}))
    assert lake.keys() == []


def test_truncate_takes_rows_above_a_seq_and_gives_no_number_twice(lake: Lake) -> None:
    table = lake.open(EVENTS)
    for name in "abc":
        table.append(events(name))
    assert table.truncate(1).deleted == 2
    assert ids(table, "message_id") == ["a"]
    version = table.truncate(1).version
    assert table.truncate(1).version == version
    assert table.append(events("d")).seq == 4
    with pytest.raises(LakeError, match="primary key"):
        lake.open(PEOPLE).truncate(0)


def test_null_and_doubled_keys_are_refused(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    for wrong in (["a", None], ["a", "a"]):
        with pytest.raises(KeyViolation):
            table.merge(people(id=wrong))
        with pytest.raises(KeyViolation):
            table.replace(people(id=wrong), scope=pl.DataFrame({"id": ["a", None]}))
    assert not table.exists()


def test_a_keyed_table_is_not_appended_to_nor_one_without_key_merged(lake: Lake) -> None:
    with pytest.raises(LakeError, match="use merge"):
        lake.open(PEOPLE).append(people(id=["a"]))
    with pytest.raises(LakeError, match="use append"):
        lake.open(EVENTS).merge(events("a"))
    with pytest.raises(LakeError, match="use replace"):
        lake.open(EVENTS).delete(events("a"))


def test_a_batch_appended_before_is_not_appended_again(lake: Lake) -> None:
    table = lake.open(EVENTS)
    table.append(events("a"), watermarks={"raw/x": 3})
    again = table.append(events("a"), watermarks={"raw/x": 3})
    older = table.append(events("z"), watermarks={"raw/x": 2})
    assert (again.inserted, again.version, older.version) == (0, 1, 1)
    assert ids(table, "message_id") == ["a"]
    assert table.append(events("b"), watermarks={"raw/x": 3, "raw/y": 1}).inserted == 1


def test_a_merge_made_from_older_input_is_refused(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    table.merge(people(id=["a"], age=[2]), watermarks={"raw/x": 5})
    with pytest.raises(StaleWatermark, match="raw/x"):
        table.merge(people(id=["a"], age=[1]), watermarks={"raw/x": 4})
    with pytest.raises(StaleWatermark):
        table.delete(pl.DataFrame({"id": ["a"]}), watermarks={"raw/x": 4})
    assert table.scan().collect()["age"].to_list() == [2]
    # The same input under a changed rule is no older input.
    assert table.merge(people(id=["a"], age=[3]), watermarks={"raw/x": 5}).updated == 1


@pytest.mark.parametrize("table", [PEOPLE, EVENTS], ids=["keyed", "append-only"])
def test_a_watermark_alone_is_a_commit_without_rows_and_without_news(
    lake: Lake, table: Table
) -> None:
    opened = lake.open(table)
    write = opened.merge if table.keyed else opened.append
    empty = pl.DataFrame(schema=dict(table.schema))
    assert write(empty).version == -1
    assert not opened.exists()
    assert write(empty, watermarks={"raw/x": 3}).seq == 0
    assert (opened.watermark("raw/x"), opened.seq(), opened.scan().collect().height) == (3, 0, 0)
    version = write(empty, watermarks={"raw/x": 4}).version
    assert write(empty, watermarks={"raw/x": 4}).version == version
    assert (opened.watermark("raw/x"), opened.seq()) == (4, 0)


def test_delete_and_replace_without_matches_still_carry_the_watermark(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    keys = pl.DataFrame({"id": ["a"]})
    table.delete(keys, watermarks={"one": 1})
    table.replace(people(id=[]), scope=keys, watermarks={"one": 2})
    table.merge(people(id=["b"]), watermarks={"two": 1})
    table.merge(people(id=["b"]), watermarks={"two": 2})
    assert (table.watermark("one"), table.watermark("two"), table.seq()) == (2, 2, 1)


@pytest.mark.parametrize("marks", [{"_seq": 1}, {"": 1}, {"x": -1}])
def test_watermarks_do_not_take_the_lakes_own_names(lake: Lake, marks: dict[str, int]) -> None:
    with pytest.raises(LakeError, match="watermark"):
        lake.open(EVENTS).append(events("a"), watermarks=marks)


def test_suppressed_rows_are_not_stored(lake: Lake) -> None:
    careful = Lake(lake.root, suppressed=lambda rows: rows.filter(pl.col("id") != "gone"))
    table = careful.open(PEOPLE)
    assert table.merge(people(id=["gone", "here"])).inserted == 1
    table.replace(people(id=["gone"]), scope=pl.DataFrame({"id": ["gone"]}))
    assert ids(table) == ["here"]


def test_tombstones_carry_the_settings_time(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_NOW", "2020-02-02T00:00:00Z")
    table = Lake(lake.root).open(PEOPLE)
    table.merge(people(id=["a"]))
    table.delete(pl.DataFrame({"id": ["a"]}))
    assert table.changes(1).collect()["deleted_at"][0] == datetime(2020, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize("value", ["../x", "a/b", "a=b", "", "é", "a" * 129])
def test_partition_values_that_cannot_name_a_folder_are_refused(lake: Lake, value: str) -> None:
    table = lake.open(
        Table(key="p", schema={"bucket": pl.String, "x": pl.Int64}, partition_by=("bucket",))
    )
    table.append(pl.DataFrame({"bucket": ["ok", "a.b-c_d", None], "x": [1, 2, 3]}))
    with pytest.raises(SchemaError, match="folder"):
        table.append(pl.DataFrame({"bucket": ["fine", value], "x": [1, 2]}))
    assert table.scan().collect().sort("x")["bucket"].to_list() == ["ok", "a.b-c_d", None]
    files = [path.name for path in table.path.rglob("*.parquet")]
    assert len(files) == 3
