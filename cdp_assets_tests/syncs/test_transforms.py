"""Set-wise transforms on both engines, against a few lines of plain Python."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from cdp_assets.syncs.config import FieldConfig
from cdp_assets.syncs.difference import difference
from cdp_assets.syncs.targets import choose, holdings
from cdp_assets_tests.engines import Engine
from cdp_assets_tests.syncs.world import LINKS, REDIRECTS

HELD = {"profile_id": pl.Int64, "record": pl.String, "object": pl.String, "age": pl.Int64}


def rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(frame.iter_rows(), key=str)


@pytest.mark.parametrize("several", ["oldest", "all", "skip"])
def test_the_first_object_then_the_oldest_record(engine: Engine, several: Any) -> None:
    rng = random.Random(7)
    held = [
        (p, f"crm.{o}:{i}", o, rng.randrange(3))
        for i, (p, o) in enumerate(
            (rng.randrange(12), rng.choice(["Contact", "Lead", "Account"])) for _ in range(60)
        )
    ]
    expected = []
    for profile in {h[0] for h in held}:
        mine: list[Any] = []
        for name in ("Contact", "Lead"):
            mine = mine or [h for h in held if h[0] == profile and h[2] == name]
        mine.sort(key=lambda h: (h[3], h[1]))
        kept = mine if several == "all" else mine[:1]
        expected += [(profile, h[1], h[2], len(mine)) for h in kept]
    rng.shuffle(held)
    frame = engine.frame(pl.DataFrame(held, schema=HELD, orient="row"))
    found = engine.collect(choose(frame, {"Contact": 0, "Lead": 1}, several))
    found = found.select("profile_id", "record", "object", "count")
    assert rows(found) == sorted(expected, key=str)


def test_identity_goes_before_memory(engine: Engine) -> None:
    links = [
        ("crm.Contact:moved", "Contact", 2, True, False, 0),
        ("crm.Contact:dead", "Contact", 1, False, True, 0),
        ("crm.Contact:new", "Contact", 1, True, False, 0),
    ]
    state = [
        ("crm.Contact:moved", "Contact", 1, 5, True, "moved"),
        ("crm.Contact:dead", "Contact", 1, 5, True, "dead"),
        ("crm.Contact:fresh", "Contact", 3, 5, True, "fresh"),
        ("crm.Contact:retired", "Contact", 4, 5, True, "retired"),
    ]
    memory = {
        "record": pl.String, "object": pl.String, "profile_id": pl.Int64, "age": pl.Int64,
        "told": pl.Boolean, "last_A": pl.String,
    }  # fmt: skip
    found = engine.collect(
        holdings(
            engine.frame(pl.DataFrame(links, schema=LINKS, orient="row")),
            engine.frame(pl.DataFrame(state, schema=memory, orient="row")),
            engine.frame(pl.DataFrame([(4, 3)], schema=REDIRECTS, orient="row")),
        )
    )
    assert rows(found.select("profile_id", "record", "age", "told", "last_A")) == [
        (1, "crm.Contact:new", 0, None, None),
        (2, "crm.Contact:moved", 0, True, "moved"),
        (3, "crm.Contact:fresh", 5, True, "fresh"),
        (3, "crm.Contact:retired", 5, True, "retired"),
    ]


def test_the_difference(engine: Engine) -> None:
    fields = {
        "A": FieldConfig.model_validate("a"),
        "B": FieldConfig.model_validate({"trait": "b", "when_null": "clear"}),
        "C": FieldConfig.model_validate({"trait": "c", "write": "on_create"}),
    }
    options = [None, "x", "y"]
    cases = [
        (wa, wb, known, la, lb)
        for wa in options
        for wb in ("", "x", "y")
        for known in (None, False, True)
        for la in (options if known is not None else [None])
        for lb in ([None, "", "x", "y"] if known is not None else [None])
    ]
    wanted = pl.DataFrame(
        [(i, f"r{i}", "O", 1, wa, wb, "new") for i, (wa, wb, *_) in enumerate(cases)],
        schema={
            "profile_id": pl.Int64, "record": pl.String, "object": pl.String, "count": pl.Int64,
            "want_A": pl.String, "want_B": pl.String, "want_C": pl.String,
        },
        orient="row",
    )  # fmt: skip
    state = pl.DataFrame(
        [(f"r{i}", k, la, lb) for i, (_, _, k, la, lb) in enumerate(cases) if k is not None],
        schema={"record": pl.String, "told": pl.Boolean, "last_A": pl.String, "last_B": pl.String},
        orient="row",
    )
    both = wanted.join(state, on="record", how="left").with_columns(last_C=pl.lit("old"))
    found = engine.collect(difference(engine.frame(both), fields))
    expected = {
        i
        for i, (wa, wb, known, la, lb) in enumerate(cases)
        if (wa is not None and wa != la) or wb != lb
    }
    assert set(found["profile_id"]) == expected
