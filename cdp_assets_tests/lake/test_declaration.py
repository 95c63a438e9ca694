from __future__ import annotations

import polars as pl
import pytest

from cdp_assets.lake import DeclarationError, Table


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "../x",
        "a/../b",
        "A",
        "raw/Contact",
        "a//b",
        "a/b.delta",
        "a\0b",
        "1a",
        "a" * 64,
        "é",
    ],
)
def test_keys_are_safe_as_paths(key: str) -> None:
    with pytest.raises(DeclarationError):
        Table(key=key, schema={"a": pl.String})


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Datetime("us"),
        pl.Datetime("ns", "UTC"),
        pl.Datetime("us", "Europe/Berlin"),
        pl.Datetime("ms", "UTC"),
        pl.Datetime,
        pl.UInt64(),
        pl.Int128(),
        pl.Time(),
        pl.Duration("us"),
        pl.Categorical(),
        pl.Null(),
        pl.Object(),
        pl.List(pl.UInt8),
        pl.Struct({}),
        pl.Struct({"a": pl.Datetime("us")}),
    ],
    ids=str,
)
def test_types_that_cannot_be_kept_are_refused(dtype: pl.DataType) -> None:
    with pytest.raises(DeclarationError, match="without loss"):
        Table(key="a", schema={"a": dtype})


def test_roles_name_columns_that_can_play_them() -> None:
    schema = {"id": pl.String, "mail": pl.String, "x": pl.Float64, "l": pl.List(pl.String)}
    for wrong in (
        {"primary_key": ("nope",)},
        {"primary_key": ("x",)},
        {"primary_key": ("l",)},
        {"partition_by": ("x",)},
        {"partition_by": ("mail",), "personal": ("mail",)},
        {"personal": ("nope",)},
        {"cluster_by": ("nope",)},
    ):
        with pytest.raises(DeclarationError):
            Table(key="a", schema=schema, **wrong)


@pytest.mark.parametrize("name", ["_seq", "deleted_at", "", "a b", "a;b", "a=b"])
def test_column_names_that_readers_refuse_or_the_lake_keeps(name: str) -> None:
    with pytest.raises(DeclarationError):
        Table(key="a", schema={name: pl.String})


def test_columns_do_not_differ_by_case_only() -> None:
    with pytest.raises(DeclarationError, match="case"):
        Table(key="a", schema={"Mail": pl.String, "mail": pl.String})


def test_no_statistics_of_columns_that_name_a_person() -> None:
    table = Table(
        key="a",
        schema={"mail": pl.String, "id": pl.Int64, "day": pl.Date},
        primary_key=("mail", "id", "day"),
        cluster_by=("mail",),
        partition_by=("day",),
        personal=("mail",),
    )
    assert table.statistics == ("_seq", "id")
