"""Types are checked and never cast; schemas drift without losing a value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from deltalake import DeltaTable

from cdp_assets.lake import Lake, SchemaError, Table
from cdp_assets.lake.schema import wider

from .tables import LOOSE, ids

NAIVE = pl.Series([datetime(2026, 1, 1)])
TIME = pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("declared", "brought"),
    [
        (pl.Int64(), pl.Series([1.5])),
        (pl.Int64(), pl.Series([1], dtype=pl.Int32)),
        (pl.Int32(), pl.Series([1])),
        (pl.Int64(), pl.Series(["1"])),
        (pl.Int64(), pl.Series([1], dtype=pl.UInt64)),
        (pl.Int64(), pl.Series([True])),
        (pl.Float64(), pl.Series([1])),
        (pl.String(), pl.Series([5])),
        (pl.Boolean(), pl.Series([1])),
        (pl.Date(), NAIVE),
        (TIME, NAIVE),
        (TIME, NAIVE.dt.replace_time_zone("UTC").dt.cast_time_unit("ns")),
        (TIME, NAIVE.dt.replace_time_zone("Europe/Berlin")),
        (TIME, pl.Series([date(2026, 1, 1)])),
        (pl.Decimal(28, 9), pl.Series([1.0])),
        (pl.Decimal(28, 9), pl.Series([Decimal(1)], dtype=pl.Decimal(38, 2))),
        (pl.List(pl.String), pl.Series([[1]])),
        (pl.Struct({"a": pl.Int64}), pl.Series([{"a": "x"}])),
        (pl.Binary(), pl.Series(["x"])),
    ],
    ids=str,
)
@pytest.mark.parametrize("keyed", [True, False])
def test_another_type_than_the_declared_is_refused(
    lake: Lake, declared: pl.DataType, brought: pl.Series, keyed: bool
) -> None:
    key = ("id",) if keyed else ()
    table = lake.open(Table(key="t", schema={"id": pl.Int64, "x": declared}, primary_key=key))
    rows = pl.DataFrame({"id": [1], "x": brought})
    with pytest.raises(SchemaError, match="never"):
        (table.merge if keyed else table.append)(rows)
    assert not table.exists()


def test_undeclared_columns_are_refused_where_a_table_does_not_evolve(lake: Lake) -> None:
    table = lake.open(Table(key="t", schema={"a": pl.String}))
    with pytest.raises(SchemaError, match="not declared"):
        table.append(pl.DataFrame({"a": ["x"], "b": ["y"]}))


def test_columns_that_differ_by_case_only_are_refused(lake: Lake) -> None:
    table = lake.open(LOOSE)
    with pytest.raises(SchemaError, match="case"):
        table.append(pl.DataFrame({"id": ["x"], "ID": ["y"]}))
    table.append(pl.DataFrame({"id": ["x"], "mail": ["y"]}))
    with pytest.raises(SchemaError, match="case"):
        table.append(pl.DataFrame({"id": ["x"], "Mail": ["y"]}))
    assert DeltaTable(table.path).version() == 2  # made, one column added, one append


def test_a_new_column_of_an_evolving_table(lake: Lake) -> None:
    table = lake.open(LOOSE)
    table.append(pl.DataFrame({"id": ["a"]}))
    table.append(pl.DataFrame({"id": ["b"], "total": [3], "later": [None]}))
    rows = table.scan().sort("id").collect()
    assert rows.schema["total"] == pl.Int64
    assert rows.select("id", "total", "_seq").rows() == [("a", None, 1), ("b", 3, 2)]
    assert "later" not in rows.columns
    table.append(pl.DataFrame({"id": ["c"], "later": [[{"x": 1}]], "total": [None]}))
    assert table.scan().filter(pl.col("id") == "c").collect()["later"].to_list() == [[{"x": 1}]]


WIDENING = [
    ([1], pl.Int32(), [2**40], pl.Int64(), pl.Int64()),
    ([1], pl.Int8(), [300], pl.Int16(), pl.Int16()),
    ([1.5], pl.Float32(), [1e300], pl.Float64(), pl.Float64()),
    ([Decimal("1.5")], pl.Decimal(5, 2), [Decimal("1.125")], pl.Decimal(6, 3), pl.Decimal(6, 3)),
    ([{"a": 1}], pl.Struct({"a": pl.Int64}), [{"b": "x"}], pl.Struct({"b": pl.String}),
     pl.Struct({"a": pl.Int64, "b": pl.String})),
    ([[{"a": 1}]], pl.List(pl.Struct({"a": pl.Int32})), [[{"a": 2**40, "c": True}]],
     pl.List(pl.Struct({"a": pl.Int64, "c": pl.Boolean})),
     pl.List(pl.Struct({"a": pl.Int64, "c": pl.Boolean}))),
]  # fmt: skip


def filled(value: object) -> object:
    """A value without the null fields that widening gave it."""
    if isinstance(value, dict):
        return {name: filled(inner) for name, inner in value.items() if inner is not None}
    return [filled(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("old", "old_type", "new", "new_type", "joint"), WIDENING, ids=str)
def test_a_type_widens_without_loss(
    lake: Lake,
    old: list[object],
    old_type: pl.DataType,
    new: list[object],
    new_type: pl.DataType,
    joint: pl.DataType,
    backwards: bool,
) -> None:
    table = lake.open(LOOSE)
    batches = [pl.Series(old, dtype=old_type), pl.Series(new, dtype=new_type)]
    for name, batch in enumerate(reversed(batches) if backwards else batches):
        table.append(pl.DataFrame({"id": [str(name)], "x": batch}))
    rows = table.scan().collect()
    assert wider(rows.schema["x"], joint) == rows.schema["x"]
    stored = [filled(value) for value in rows["x"].to_list()]
    assert sorted(stored, key=str) == sorted((filled(v) for v in (*old, *new)), key=str)
    assert sorted(rows["_seq"]) == [1, 2]
    if not isinstance(joint, pl.Struct | pl.List):
        assert rows.schema["x"] == joint


CLASHES = [
    (["x"], [5], "5"),
    ([5], ["x"], "x"),
    ([5], [1.5], "1.5"),
    ([1.5], [2**60 + 1], str(2**60 + 1)),
    ([True], [1], "1"),
    ([date(2026, 1, 1)], [datetime(2026, 1, 1, 5, tzinfo=UTC)], "2026-01-01 05:00:00.000000Z"),
    (["x"], [{"a": [1]}], '{"value":{"a":[1]}}'),
    (["x"], [[1, 2]], '{"value":[1,2]}'),
    (["x"], [b"\xff\x00"], "/wA="),
]


@pytest.mark.parametrize(("old", "new", "text"), CLASHES, ids=str)
def test_a_clash_is_kept_beside_as_text(
    lake: Lake, old: list[object], new: list[object], text: str
) -> None:
    table = lake.open(LOOSE)
    table.append(pl.DataFrame({"id": ["a"], "x": old}))
    table.append(pl.DataFrame({"id": ["b"], "x": new}))
    table.append(pl.DataFrame({"id": ["c"], "x": old}))
    rows = table.scan().sort("id").collect()
    assert rows["x"].to_list() == [*old, None, *old]
    beside = rows["x__str"].to_list()
    assert (beside[0], beside[2]) == (None, None)
    assert beside[1].replace("+00:00", "Z").replace("UTC", "Z").replace(" Z", "Z") == text


def test_values_that_no_column_can_hold_are_refused_in_an_evolving_table_too(lake: Lake) -> None:
    table = lake.open(LOOSE)
    for odd in (NAIVE, pl.Series([1], dtype=pl.UInt64), pl.Series([{}])):
        with pytest.raises(SchemaError, match="without loss"):
            table.append(pl.DataFrame({"id": ["a"], "x": odd}))


def declared(**schema: pl.DataType | type[pl.DataType]) -> Table:
    return Table(key="t", schema={"id": pl.String, **schema}, primary_key=("id",))  # type: ignore[dict-item]


def test_a_column_declared_later(lake: Lake) -> None:
    lake.open(declared()).merge(pl.DataFrame({"id": ["a"]}))
    table = lake.open(declared(x=pl.Int64))
    assert table.scan().collect()["x"].to_list() == [None]
    done = table.merge(pl.DataFrame({"id": ["a", "b"], "x": [None, 2]}))
    assert (done.unchanged, done.inserted) == (1, 1)
    assert table.merge(pl.DataFrame({"id": ["a"], "x": [1]})).updated == 1


def test_a_column_no_longer_declared_stays_stored_and_is_not_seen(lake: Lake) -> None:
    lake.open(declared(x=pl.Int64)).merge(pl.DataFrame({"id": ["a"], "x": [1]}))
    table = lake.open(declared())
    table.merge(pl.DataFrame({"id": ["b"]}))
    assert table.scan().collect().columns == ["id", "_seq"]
    assert sorted(lake.open(declared(x=pl.Int64)).scan().collect()["x"], key=str) == [1, None]


def test_a_declaration_that_widens_and_one_that_lags_behind(lake: Lake) -> None:
    narrow, wide = lake.open(declared(x=pl.Int32)), lake.open(declared(x=pl.Int64))
    narrow.merge(pl.DataFrame({"id": ["a"], "x": pl.Series([1], dtype=pl.Int32)}))
    assert wide.scan().collect().schema["x"] == pl.Int64
    wide.merge(pl.DataFrame({"id": ["b"], "x": [2**40]}))
    narrow.merge(pl.DataFrame({"id": ["c"], "x": pl.Series([3], dtype=pl.Int32)}))
    assert sorted(narrow.scan().collect()["x"]) == [1, 3, 2**40]
    assert sorted(wide.changes(1).collect()["id"]) == ["b", "c"]


def test_a_declaration_that_clashes_moves_old_values_beside(lake: Lake) -> None:
    lake.open(declared(x=pl.Int64)).merge(pl.DataFrame({"id": ["a", "b"], "x": [1, 2]}))
    table = lake.open(declared(x=pl.String))
    assert table.scan().collect()["x"].to_list() == [None, None]
    done = table.merge(pl.DataFrame({"id": ["a"], "x": ["one"]}))
    assert done.updated == 1
    assert dict(table.scan().select("id", "x").collect().iter_rows()) == {"a": "one", "b": None}
    beside = pl.scan_delta(table.path).select("id", "x__str").collect()
    assert dict(beside.iter_rows()) == {"a": None, "b": "2"}


def test_a_key_does_not_change_its_type(lake: Lake) -> None:
    lake.open(declared()).merge(pl.DataFrame({"id": ["a"]}))
    other = Table(key="t", schema={"id": pl.Int64}, primary_key=("id",))
    with pytest.raises(SchemaError, match="key or partition column id"):
        lake.open(other).merge(pl.DataFrame({"id": [1]}))
    assert ids(lake.open(declared())) == ["a"]


def test_delete_and_watermark_after_the_declaration_grew(lake: Lake) -> None:
    lake.open(declared()).merge(pl.DataFrame({"id": ["a", "b"]}))
    table = lake.open(declared(x=pl.Int64))
    assert table.delete(pl.DataFrame({"id": ["a"]})).deleted == 1
    table.merge(pl.DataFrame(schema={"id": pl.String}), watermarks={"raw/x": 1})
    assert ids(table) == ["b"]


def test_all_types_come_back_as_they_went(lake: Lake) -> None:
    rows = pl.DataFrame(
        {
            "id": ["a"],
            "i8": pl.Series([-128], dtype=pl.Int8),
            "f32": pl.Series([1.5], dtype=pl.Float32),
            "f": [float("nan")],
            "b": [True],
            "bin": [b"\xff\x00"],
            "day": [date(1, 1, 1)],
            "at": pl.Series([datetime(1, 1, 1, tzinfo=UTC)], dtype=TIME),
            "money": pl.Series([Decimal("12345678901234567.123456789")], dtype=pl.Decimal(28, 9)),
            "deep": [[{"x": [1, None], "y": {"z": "ü"}}, None]],
            "nul": ["a\0b"],
        }
    )
    table = lake.open(Table(key="t", schema=dict(rows.schema), primary_key=("id",)))
    table.merge(rows)
    assert table.scan().drop("_seq").collect().equals(rows, null_equal=True)
    assert table.merge(rows).unchanged == 1


def test_lists_without_a_type_take_the_declared_one(lake: Lake) -> None:
    schema = {"id": pl.String, "x": pl.List(pl.Struct({"a": pl.List(pl.Int64)}))}
    table = lake.open(Table(key="t", schema=schema, primary_key=("id",)))
    table.merge(pl.DataFrame({"id": ["a", "b"], "x": [[], None]}))
    table.merge(pl.DataFrame({"id": ["c", "d"], "x": [[{"a": []}, None], [{"a": None}]]}))
    rows = table.scan().sort("id").collect()["x"].to_list()
    assert rows == [[], None, [{"a": []}, None], [{"a": None}]]
    assert table.merge(pl.DataFrame({"id": ["a"], "x": [[]]})).unchanged == 1


@pytest.mark.parametrize("dtype", [pl.Date(), TIME], ids=str)
def test_times_beyond_pythons_years_are_refused(lake: Lake, dtype: pl.DataType) -> None:
    table = lake.open(Table(key="t", schema={"x": dtype}))
    day = 1 if dtype == pl.Date else 86_400_000_000
    edges = [-719_162 * day, 2_932_897 * day - 1]
    table.append(pl.DataFrame({"x": pl.Series([*edges, None]).cast(pl.Int64).cast(dtype)}))
    assert [value.year for value in table.scan().collect()["x"].drop_nulls()] == [1, 9999]
    for wrong in (edges[0] - 1, edges[1] + 1):
        with pytest.raises(SchemaError, match="1 to 9999"):
            table.append(pl.DataFrame({"x": pl.Series([wrong]).cast(dtype)}))
