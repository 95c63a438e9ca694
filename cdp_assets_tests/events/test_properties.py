from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.events import properties
from cdp_assets.events.properties import (
    OTHERS,
    PROPERTIES,
    VOLUMES,
    build_properties,
    build_volumes,
)
from cdp_assets.lake import Lake
from cdp_assets_tests.events.world import event, line, run, source, table, write


def seen(lake: Lake) -> dict[tuple[str, str], dict[str, Any]]:
    rows = table(lake, PROPERTIES.key).to_dicts()
    return {(row["event"] or row["type"], row["property"]): row for row in rows}


def many(start: int, count: int) -> list[bytes]:
    """Events of several shapes, with clashes, clashing names, nulls, odd spellings."""
    made = []
    for n in range(start, start + count):
        said: dict[str, Any] = {"n": n, "price": 1.5 if n % 3 else 2, "user_id": "x"}
        said["mixed"] = "a" if n % 4 == 0 else n
        said["address"] = {"city": "x", "geo": {"lat": 1.5}}
        if n % 5 == 0:
            said |= {"orderId": 1, "order_id": "1", "nothing": None, "tags": [1, "a"]}
        name = ("Order Completed", "order_completed", "Signed In")[n % 3]
        made.append(event(n, event=name, messageId=f"m{n}", properties=said))
    made.append(event(start, type="identify", event=None, messageId=f"i{start}", properties=None,
                      userId="u", traits={"email": "a@x"}))  # fmt: skip
    text = line(event(start, messageId=f"e{start}", properties={"n": 1}))
    return [line(one) for one in made] + [text.replace(b'"properties"', b'"pr\\u006fperties"')]


def test_a_property_keeps_all_its_types(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", many(0, 60))
    run(lake, source(tmp_path / "in"))
    assert build_properties(lake) == 62
    found = seen(lake)
    order = "Order Completed"
    assert found[order, ""]["count"] == 21
    assert found[order, "n"]["kind"] == "integer"
    assert found[order, "n"]["count"] == 21  # the one with an escaped name included
    assert found["Signed In", "price"]["kind"] == "number"
    assert found[order, "price"]["kind"] == "integer"
    mixed = found[order, "mixed"]
    assert (mixed["kind"], mixed["clash"]) == ("string", True)
    assert mixed["strings"] + mixed["integers"] == mixed["count"] == 20
    assert not found[order, "n"]["clash"]
    assert found[order, "address.geo.lat"]["kind"] == "number"
    assert found[order, "orderId"]["alike"] == "order_id"
    assert found[order, "order_id"]["alike"] == "orderId"
    assert found[order, "nothing"]["kind"] == "null"
    assert found[order, "tags"]["kind"] == "array"
    assert found["identify", "email"]["kind"] == "string"
    # named like a column of events, and neither overwrote the other
    assert found[order, "user_id"]["strings"] == 20


def test_bit_by_bit_is_as_at_once(lake: Lake, tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path / "in", f"{n}.jsonl", many(n * 20, 20))
        run(lake, source(tmp_path / "in"), chunk_rows=7)
        build_properties(lake, part=5)
        build_volumes(lake)
    other = Lake(lake.root.parent / "other", clock=lake.clock)
    run(other, source(tmp_path / "in"))
    build_properties(other)
    build_volumes(other)
    for key in (PROPERTIES.key, VOLUMES.key):
        ours, theirs = table(lake, key), table(other, key)
        assert ours.sort(pl.all()).equals(theirs.sort(pl.all()))
    assert build_properties(lake) == build_volumes(lake) == 0
    volumes = table(lake, VOLUMES.key)
    events = pl.read_delta(str(lake.path("events")))
    assert volumes["events"].sum() == len(events)
    assert set(volumes["day"]) == set(events["timestamp"].dt.date())


def test_ids_where_names_belong_do_not_fill_the_catalogue(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(properties, "MOST_PROPERTIES", 10)
    monkeypatch.setattr(properties, "MOST_EVENTS", 3)
    for n in range(3):
        lines = [
            line(event(n * 100 + i, event=f"Opened {n * 100 + i}", messageId=f"m{n}-{i}",
                       properties={f"k{j}": 1 for j in range(i * 30, i * 30 + 30)}))
            for i in range(20)
        ]  # fmt: skip
        write(tmp_path / "in", f"{n}.jsonl", lines)
        run(lake, source(tmp_path / "in"))
        build_properties(lake)
    found = table(lake, PROPERTIES.key)
    assert found["event"].n_unique() == 4
    assert OTHERS in found["event"]
    assert found.group_by("event").len()["len"].max() <= 12
    assert found.filter(property="")["count"].sum() == 60
