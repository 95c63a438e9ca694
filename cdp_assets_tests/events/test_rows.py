from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from cdp_assets.events.config import FilesConfig
from cdp_assets.lake import Lake
from cdp_assets_tests.events.world import rows_source, run, table

ROWS = [("1", "19970101", "11.77"), ("2", "19970112", "12.00"), ("2", "19970112", "12.00")]


def orders(lake: Lake) -> list[tuple[object, ...]]:
    found = table(lake, "events/order_completed").sort("message_id")
    return found.select("user_id", "timestamp", "revenue").rows()


EXPECTED = [
    ("1", datetime(1997, 1, 1, tzinfo=UTC), Decimal("11.77")),
    ("2", datetime(1997, 1, 12, tzinfo=UTC), Decimal(12)),
    ("2", datetime(1997, 1, 12, tzinfo=UTC), Decimal(12)),
]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("declared", [True, False])
def test_rows_are_events_and_equal_rows_are_two(
    separator: str, declared: bool, lake: Lake, tmp_path: Path
) -> None:
    rows = [("customer", "date", "amount"), *ROWS]
    pad = "  " if separator == " " else ""
    path = tmp_path / "orders.csv"
    path.write_text("".join(pad + separator.join(row) + "\n" for row in rows))
    config = {"separator": separator} if declared else {}
    result = run(lake, rows_source(path, **config))
    assert (result.stored, result.duplicates, result.failed) == (3, 0, 0)
    assert orders(lake) == EXPECTED
    assert run(lake, rows_source(path, **config)).read == 0


def test_gzip_and_jsonl_and_parquet_rows_read_alike(lake: Lake, tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS, schema=["customer", "date", "amount"], orient="row")
    typed = frame.with_columns(
        pl.col("date").str.to_date("%Y%m%d"), pl.col("amount").cast(pl.Decimal(10, 2))
    )
    typed.write_parquet(tmp_path / "orders.parquet")
    frame.write_ndjson(tmp_path / "orders.jsonl")
    (tmp_path / "orders.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    for number, name in enumerate(("orders.parquet", "orders.jsonl", "orders.csv.gz"), 1):
        assert run(lake, rows_source(tmp_path / name, f"shop{number}")).stored == 3
        found = table(lake, "events/order_completed").filter(source=f"shop{number}")
        assert found.sort("message_id").select("user_id", "timestamp", "revenue").rows() == EXPECTED


@pytest.mark.parametrize(
    ("text", "config"),
    [
        (b"customer;date;amount\n1;19970101;5\n", {"separator": ","}),
        (b"client,date,amount\n1,19970101,5\n", {}),
        (b"1,19970101,5\n2,19970101,5\n", {}),
        (gzip.compress(b"customer,date,amount\n" + b"1,19970101,5\n" * 9_000)[:-30], {}),
        (b'customer,date,amount\n1,19970101,5\n2,"19970101,5\n', {}),
    ],
    ids=["wrong delimiter", "no such column", "no header", "cut gzip", "open quote"],
)
def test_a_file_that_cannot_be_read_fails_alone(
    text: bytes, config: dict[str, str], lake: Lake, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_bytes(text)
    (tmp_path / "good.csv").write_text("customer,date,amount\n1,19970101,11.77\n")
    if config:
        (tmp_path / "good.csv").write_text("customer,date,amount\n1,19970101,11.77\n")
    result = run(lake, rows_source(tmp_path / "*.csv", **config))
    assert (result.failed, result.stored) == (1, 1)
    (reason,) = [note.reason for note in result.notes if note.state == "failed"]
    assert reason
    assert "19970101" not in reason


def test_a_ragged_row_and_one_of_nobody_are_quarantined(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer,date,amount\n1,19970101,5\n2,19970101\n,19970101,5\n")
    result = run(lake, rows_source(path))
    assert (result.read, result.stored, result.quarantined) == (3, 1, 2)


def test_what_cannot_be_read_is_counted(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer;date;amount\n1;24.13.2025;1,50\n1;20250325;10,00\n2;;7\n")
    result = run(lake, rows_source(path))
    assert (result.stored, result.unread_times, result.untimed) == (3, 1, 2)
    assert result.beside == {"Order Completed.revenue": 2}
    again = tmp_path / "more.csv"
    again.write_text("customer;date;amount\n1;20250325;10.00\n")
    clean = run(lake, rows_source(again))
    assert (clean.stored, clean.unread_times, clean.untimed, clean.beside) == (1, 0, 0, {})


def test_a_date_format_and_columns_without_a_name(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer,date,amount,color\n1,02.01.1997,5,red\n")
    run(lake, rows_source(path, date_format="%d.%m.%Y"))
    row = table(lake, "events").row(0, named=True)
    assert row["timestamp"] == datetime(1997, 1, 2, tzinfo=UTC)
    assert '"color":"red"' in row["payload"]
    assert row["message_id"] == f"{row['origin']}:1"


@pytest.mark.parametrize(
    "config",
    [
        {"path": "x"},
        {"path": "x", "event": "A", "as": "b", "fields": {"userId": "u"}},
        {"path": "x", "event": "A"},
        {"path": "x", "event": "A", "fields": {"userId": "u"}, "key": "k"},
        {"path": "x", "as": "b", "separator": "ab"},
        {"path": "x", "as": "b", "encoding": "latin-99"},
        {"path": "x", "as": "b", "date_format": "%H:%M"},
        {"path": "x", "as": "b", "colour": "red"},
    ],
)
def test_mistakes_in_the_declaration_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FilesConfig.model_validate(config)


@pytest.mark.parametrize(
    "text",
    [
        "zzada@example.com,19970101,5\n2,19970101,5\n",
        "zzada,zzada,5\n2,3,5\n",
        "zzada;zzada;5\n2;3;5\n",
        'zzada,"zzada\n',
    ],
)
def test_a_file_without_header_has_its_first_customer_told_to_nobody(
    text: str, lake: Lake, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert run(lake, rows_source(tmp_path / "*.csv")).failed == 1
    noted = table(lake, "raw/files")
    assert noted["reason"][0]
    assert "zzada" not in str(noted.drop("path").rows())


@pytest.mark.parametrize(
    "more", [{"date_format": "%d.%m.%Y"}, {"purpose": "analytics"}, {"start": "2026-01-01"}]
)
def test_an_option_that_would_do_nothing_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=f"`{next(iter(more))}`.*would do nothing"):
        FilesConfig.model_validate({"path": "x", "as": "order", "key": "id", **more})
    event = {"path": "x", "event": "Order Completed", "fields": {"userId": "id"}}
    FilesConfig.model_validate({**event, **more})
