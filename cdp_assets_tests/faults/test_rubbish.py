"""Rubbish in files: a row of quarantine with file, line and reason, or a file that says what is
wrong with it; the rest goes on."""

from __future__ import annotations

import gzip
import json
import resource
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets_tests.e2e.house import House

DEFS = {
    "app": 'type: cdp_assets.EventFiles\nattributes: {path: "{{ env.EVENTS_DIR }}/*.jsonl*"}\n',
    "shop": """
type: cdp_assets.Files
attributes:
  path: "{{ env.SHOP }}/*.csv*"
  event: Order Completed
  fields: {userId: customer, timestamp: at, revenue: total}
""",
    "partners": """
type: cdp_assets.Files
attributes: {path: "{{ env.PARTNERS }}/*.csv*", as: partner, key: id}
""",
    "person": """
type: cdp_assets.Traits
attributes:
  entity: person
  traits:
    orders: {select: count(*), from: Order Completed}
    revenue: {select: sum(revenue), from: Order Completed}
""",
    "identity": """
type: cdp_assets.Identity
attributes: {person: {identifiers: {user_id: {from: [events.userId], limit: 1}}}}
""",
}
LONG = 100_000_000


def order(who: str, **more: Any) -> bytes:
    """One purchase as a line."""
    line = {
        "type": "track", "event": "Order Completed", "userId": who, "messageId": f"m-{who}",
        "timestamp": "2026-06-01T10:00:00Z", "properties": {"revenue": 1.5}, **more,
    }  # fmt: skip
    return json.dumps(line).encode() + b"\n"


def odd(text: bytes) -> bytes:
    """A purchase whose event name holds `text`."""
    return b'{"type":"track","event":"Order ' + text + b'","userId":"x"}\n'


def cut(text: bytes) -> bytes:
    """gzip that ends half way."""
    whole = gzip.compress(text)
    return whole[: len(whole) // 2]


GOOD = b"customer,at,total\nc1,2026-06-01,5.00\nc2,2026-06-02,6.50\n"
FILES: dict[str, bytes] = {
    "events/good.jsonl": order("a1") + order("a2"),
    "events/plain.jsonl.gz": order("a3"),
    "events/empty.jsonl": b"",
    "events/cut.jsonl.gz": cut(b"".join(order(f"z{i}") for i in range(500))),
    "events/odd.jsonl": order("b1")
    + odd(b"\xff")
    + odd(b"\\ud800")
    + order("x").replace(b"1.5", b"NaN")
    + b"no event\n"
    + b"\x00\x00\n"
    + b"[1]\n"
    + order("b2"),
    "shop/good.csv": GOOD,
    "shop/semicolons.csv": b"customer;at;total\nc3;2026-06-03;5.00\n",
    "shop/pipes.csv": b"a|b|c\n1|2|3\n",
    "shop/empty.csv": b"",
    "shop/header.csv": b"customer,at,total\n",
    "shop/ragged.csv": b"customer,at,total\nc4,2026-06-01,5.00,9\nc5\nc6,2026-06-01,7\n",
    "shop/latin.csv": b"customer,at,total\nm\xfcller,2026-06-01,5.00\nc7,2026-06-01,7\n",
    "shop/cut.csv.gz": cut(GOOD * 500),
    "partners/good.csv": b"id,name\n1,A\n2,B\n",
    "partners/semicolons.csv": b"id;name\n3;C\n",
    "partners/nokey.csv": b"key,name\n4,D\n",
    "partners/latin.csv": b"id,name\n5,M\xfcller\n6,F\n",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    base = tmp_path_factory.mktemp("rubbish")
    for name, text in DEFS.items():
        (base / "defs" / name).mkdir(parents=True)
        (base / "defs" / name / "defs.yaml").write_text(text, "utf-8")
    for name, content in FILES.items():
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(content)
    with (base / "events" / "long.jsonl").open("wb") as file:
        file.write(order("d1") + b'{"type":"track","x":"')
        for _ in range(100):
            file.write(b"a" * (LONG // 100))
        file.write(b'"}\n' + order("d2"))
    folders = {"EVENTS_DIR": "events", "SHOP": "shop", "PARTNERS": "partners"}
    house = House(
        base / "home", {name: str(base / part) for name, part in folders.items()}, base / "defs"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with house.open() as here:
        found = here.ingest(None, "run")
        here.ingest_record_files("partners", "run")
        assert found.read == found.stored + found.duplicates + found.quarantined
        here.build_records()
        here.resolve()
        here.build_profiles("person")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 400, f"a line of 100 MB took {grown:.0f} MB"
    return house


def test_the_rest_goes_on(house: House) -> None:
    people = set(house.table("events")["user_id"])
    good = {"a1", "a2", "a3", "b1", "b2", "d1", "d2", "c1", "c2", "c3", "c6", "c7"}
    assert people == good
    profiles = house.table("profiles/person")
    assert profiles.height == len(good)
    assert profiles["orders"].sum() == len(good)
    partners = house.table("records/partner")
    assert sorted(partners["record_id"]) == ["1", "2", "3", "6"]


def test_every_refused_line_names_file_place_and_reason(house: House) -> None:
    files = house.table("raw/files").select(
        origin="sha256", file=pl.col("path").str.extract(r"([^/]*/[^/]*)$")
    )
    found = house.table("raw/quarantine").join(files, on="origin", how="left")
    assert found.select(pl.col("detail", "first_seen").is_not_null().all()).row(0) == (True, True)
    assert set(found.select("file", "position", "reason").iter_rows()) == {
        ("events/odd.jsonl", 2, "invalid_utf8"),
        ("events/odd.jsonl", 3, "not_json"),
        ("events/odd.jsonl", 4, "not_json"),
        ("events/odd.jsonl", 5, "not_json"),
        ("events/odd.jsonl", 6, "not_json"),
        ("events/odd.jsonl", 7, "not_an_object"),
        ("events/long.jsonl", 2, "too_long"),
        ("shop/ragged.csv", 1, "columns"),
        ("shop/ragged.csv", 2, "columns"),
        ("shop/latin.csv", 1, "not_utf8"),
        ("partners/latin.csv", 1, "not_utf8"),
    }
    kept = found.filter(pl.col("reason") == "invalid_utf8")["payload"][0]
    assert kept.rstrip(b"\n") == odd(b"\xff").rstrip(b"\n"), "the bytes as they came"


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("events/empty.jsonl", "empty", "no bytes"),
        ("events/cut.jsonl.gz", "failed", "no whole gzip file"),
        ("shop/cut.csv.gz", "failed", "no whole gzip file"),
        ("shop/pipes.csv", "failed", "no column at, customer, total"),
        ("shop/empty.csv", "empty", "no bytes"),
        ("shop/header.csv", "empty", "no line"),
        ("partners/nokey.csv", "failed", "no column `id`"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    house: House, name: str, state: str, words: str
) -> None:
    files = house.table("raw/files").filter(pl.col("path").str.ends_with(f"/{name}"))
    assert files["state"].to_list() == [state]
    assert words in files["reason"][0]


def test_nothing_of_it_is_read_twice(house: House) -> None:
    with house.open() as here:
        found = here.ingest(None, "again")
        assert (found.read, found.stored, found.quarantined) == (0, 0, 0)
        again = here.ingest_record_files("partners", "again")
        assert (again.rows, again.new, again.quarantined) == (0, 0, 0)


def test_a_mended_file_comes_in(house: House) -> None:
    folder = Path(house.variables["EVENTS_DIR"])
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(order("e1") + order("e2")))
    with house.open() as here:
        found = here.ingest(None, "mended")
    assert (found.read, found.stored) == (2, 2)
