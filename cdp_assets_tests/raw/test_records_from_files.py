"""Rows of files as records."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.lake import Lake
from cdp_assets.raw import files, quarantine
from cdp_assets.raw.records import FilesResult, records_from_files
from cdp_assets.raw.rows import LONGEST_ROW
from cdp_assets.raw.tables import FILES, raw_table

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def put(folder: Path, name: str, body: bytes) -> None:
    (folder / name).write_bytes(body)
    os.utime(folder / name, (1, len(list(folder.iterdir()))))


def read(lake: Lake, folder: Path, key: str | None = "id", **more: Any) -> FilesResult:
    pattern = f"{folder}/*"
    result = records_from_files(lake, "erp", pattern, "customer", key, NOW, "run", **more)
    assert result.rows == result.new + result.duplicates + result.quarantined
    return result


def stored(lake: Lake) -> list[tuple[str, dict[str, Any]]]:
    frame = lake.open(raw_table("erp", "customer")).scan().sort("record_id", "_seq").collect()
    return [(r, json.loads(p)) for r, p in frame.select("record_id", "payload").rows()]


def state(lake: Lake) -> dict[str, tuple[str, str | None]]:
    frame = lake.open(FILES).scan().collect()
    return {Path(p).name: (s, r) for p, s, r in frame.select("path", "state", "reason").rows()}


def test_csv_values_stay_the_text_they_are(lake: Lake, folder: Path) -> None:
    put(folder, "a.csv", '\ufeffid,zip,note\r\n007,01234,"two\nlines, ""so"""\r\n8,,x\r\n'.encode())
    assert read(lake, folder).new == 2
    assert stored(lake) == [
        ("007", {"id": "007", "zip": "01234", "note": 'two\nlines, "so"'}),
        ("8", {"id": "8", "zip": None, "note": "x"}),
    ]


def test_a_second_file_brings_only_what_differs(lake: Lake, folder: Path) -> None:
    put(folder, "a.jsonl", b'{"id": 1, "v": 1}\n{"id": 2, "v": 1}\n')
    read(lake, folder)
    put(folder, "b.jsonl", b'{"v": 1.0, "id": 1}\n{"id": 2, "v": 2}\n')
    result = read(lake, folder)
    assert (result.new, result.duplicates, result.unchanged) == (1, 1, 1)
    assert [v["v"] for _, v in stored(lake)] == [1, 1, 2]


def test_without_a_key_a_row_is_named_by_file_and_number(lake: Lake, folder: Path) -> None:
    put(folder, "a.jsonl", b'{"v": 1}\n\n{"v": 1}\n')
    assert read(lake, folder, key=None).new == 2
    sha = lake.open(FILES).scan().collect()["sha256"][0]
    assert [r for r, _ in stored(lake)] == [f"{sha}:1", f"{sha}:3"]


def test_blanks_as_delimiter(lake: Lake, folder: Path) -> None:
    put(
        folder,
        "a.txt",
        b" id  date cds  dollars\n 00001 19970101  1   11.77\n 00002 19970112  1   12.00\n",
    )
    assert read(lake, folder, delimiter=" ").new == 2
    assert stored(lake)[0][1] == {"id": "00001", "date": "19970101", "cds": "1", "dollars": "11.77"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\n", "no header"),
        (b"id,,x\n1,2,3\n", "column 2 has no name"),
        (b"id,x,id\n1,2,3\n", "columns 1 and 3 have one name"),
        (b"key,name\n1,x\n", "has no column `id` among its 2"),
        (b'id,name\n1,"open\n2,y\n' + b"3,z\n" * 10, "quote"),
    ],
)
def test_a_file_of_another_make_is_one_clear_error_and_the_rest_goes_on(
    lake: Lake, folder: Path, body: bytes, said: str
) -> None:
    put(folder, "a.csv", body)
    put(folder, "b.csv", b"id,name\n1,x\n")
    put(folder, "c.docx", b"PK")
    result = read(lake, folder)
    assert (result.new, result.failed) == (1, 2)
    assert said in str(state(lake)["a.csv"][1])
    assert state(lake)["b.csv"][0] == "ingested"
    assert any(said in reason for reason in result.reasons)
    assert read(lake, folder).unchanged == 3


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.csv", b"id;name\n1;x, y\n"),
        ("a.csv", b"id|name\n1|x, y\n"),
        ("a.txt.gz", b"id\tname\n1\tx, y\n"),
        ("a.csv", b'"id";"name"\r\n1;"x, y"\r\n'),
        ("a.tsv", b"id\tname\n1\tx, y\n"),
        ("a.tsv", b'id,name\n1,"x, y"\n'),
    ],
)
def test_the_separator_is_found_from_the_header(
    lake: Lake, tmp_path: Path, name: str, body: bytes
) -> None:
    folder = tmp_path / "export.tsv files"  # a folder's name says nothing
    folder.mkdir()
    put(folder, name, gzip.compress(body) if name.endswith(".gz") else body)
    assert read(lake, folder).new == 1
    assert stored(lake) == [("1", {"id": "1", "name": "x, y"})]


def test_quoted_signs_and_a_tsv_with_commas_mislead_nobody(lake: Lake, folder: Path) -> None:
    put(folder, "a.csv", b'id;"a,b,c";d\n1;2;3\n')
    put(folder, "b.tsv", b"id\ta,b,c\n2\t2\n")
    assert read(lake, folder).new == 2
    assert [r for r, _ in stored(lake)] == ["1", "2"]


def test_a_wrong_separator_is_told_by_the_name_of_its_option(lake: Lake, folder: Path) -> None:
    put(folder, "a.csv", b"id;name\n1;x\n")
    assert read(lake, folder, delimiter=",").failed == 1
    assert "Correct `separator`" in str(state(lake)["a.csv"][1])


def test_one_column_whose_name_holds_a_blank(lake: Lake, folder: Path) -> None:
    put(folder, "a.csv", b"Email Address\nada@example.com\n")
    assert read(lake, folder, key="Email Address", delimiter=",").new == 1


def test_rows_that_are_none_are_quarantined_with_their_number(lake: Lake, folder: Path) -> None:
    lines = [
        b'{"id": 1}',
        b'{"id": 2',
        b'{"id": 3, "x": NaN}',
        b'{"id": 4, "x": "\\ud800"}',
        b'{"id": 5, "x": "\xff"}',
        b"[6]",
        b'{"id": null}',
        b'{"name": "no id"}',
        b'{"id": 9, "x": "' + b"y" * LONGEST_ROW + b'"}',
        b'{"id": 10}',
    ]
    put(folder, "a.jsonl", b"\n".join(lines))
    result = read(lake, folder)
    assert (result.rows, result.new, result.quarantined) == (10, 2, 8)
    waiting = quarantine.open_rows(lake).select("position", "reason").rows()
    assert waiting == [
        (2, "not_json"), (3, "not_json"), (4, "not_json"), (5, "not_utf8"),
        (6, "not_an_object"), (7, "no_key"), (8, "no_key"), (9, "too_long"),
    ]  # fmt: skip


def test_odd_csv_rows_are_quarantined(lake: Lake, folder: Path) -> None:
    put(folder, "a.csv", b"id,name\n1,x\n2\n3,y,z\n4,\xe4\n,w\n")
    result = read(lake, folder)
    assert (result.new, result.quarantined) == (1, 4)
    waiting = quarantine.open_rows(lake)
    assert waiting.select("position", "reason").rows() == [
        (2, "columns"), (3, "columns"), (4, "not_utf8"), (5, "no_key")
    ]  # fmt: skip
    assert waiting["payload"][2] == b"4,\xe4"
    put(folder, "a.csv", b"id,name\n1,x\n4,\xe4\n")
    assert read(lake, folder, encoding="windows-1252").new == 1
    assert stored(lake)[-1][1]["name"] == "ä"


def test_parquet_and_gzip(lake: Lake, folder: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2, 3],
            "price": [1.5, float("nan"), float("inf")],
            "day": [datetime(2026, 1, 1).date(), None, None],
            "money": pl.Series(["1.10", "2.20", "3.30"]).cast(pl.Decimal(10, 2)),
        }
    )
    frame.write_parquet(folder / "a.parquet")
    put(folder, "b.csv.gz", gzip.compress(b"id,name\n4,x\n"))
    put(folder, "c.parquet", b"PAR1 nonsense PAR1")
    result = read(lake, folder)
    assert (result.new, result.quarantined, result.failed) == (3, 1, 1)
    assert stored(lake)[0] == ("1", {"id": 1, "price": 1.5, "day": "2026-01-01", "money": "1.10"})
    assert stored(lake)[1][1]["price"] is None
    formats = lake.open(raw_table("erp", "customer")).scan().collect()["payload_format"].to_list()
    assert sorted(formats) == ["csv", "parquet", "parquet"]


MARK = "zzada"


@pytest.mark.parametrize(
    "body",
    [
        "1,zzada@example.com,zzada\n2,b@example.com,B\n",
        "zzada@example.com,zzada@example.com\nx,y\n",
        "zzada;1;1\nb;2;2\n",
        "zzada@example.com\nb@example.com\n",
        "zzada,,1\nb,2,3\n",
        'zzada,"zzada\n1,2\n',
        "zzada Lovelace London\nB C D\n",
    ],
)
@pytest.mark.parametrize("delimiter", [None, ",", ";"])
def test_a_file_without_header_has_its_first_customer_told_to_nobody(
    lake: Lake, folder: Path, body: str, delimiter: str | None
) -> None:
    put(folder, "a.csv", body.encode())
    result = read(lake, folder, delimiter=delimiter)
    assert result.failed == 1
    assert state(lake)["a.csv"][1], "the reason is told"
    assert MARK not in " ".join(result.reasons) + str(state(lake))


def test_no_note_holds_a_value(lake: Lake, folder: Path) -> None:
    put(folder, "a.csv", b'id,email\n1,"ada@example.com\n')
    put(folder, "b.jsonl", b'{"id": "ada@example.com", "x": }\n')
    result = read(lake, folder)
    said = " ".join(result.reasons) + str(quarantine.open_rows(lake).drop("payload").rows())
    assert "ada@" not in said + str(state(lake))
    assert files.find(lake, "erp", f"{folder}/*", NOW).unchanged == 2
