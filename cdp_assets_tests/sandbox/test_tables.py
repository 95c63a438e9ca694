"""What the stand-ins hold survives any end of the process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.sandbox.tables import Table, Tables

ROWS = st.one_of(st.none(), st.fixed_dictionaries({"n": st.integers(0, 3), "é": st.text()}))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), ROWS),
        st.tuples(st.sampled_from(["commit", "snapshot", "roll_back", "kill", "tear"])),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_a_restart_finds_what_was_committed(steps: list[tuple[object, ...]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        tables = Tables(folder)
        tables.snapshot()
        now: dict[str, object] = {}
        committed: dict[str, object] = {}
        for step in steps:
            match step:
                case ("put", key, row):
                    tables.put("t", str(key), row)  # type: ignore[arg-type]
                    now.pop(str(key), None)
                    if row is not None:
                        now[str(key)] = row
                case ("commit",):
                    tables.commit()
                    committed = dict(now)
                case ("snapshot",):
                    tables.snapshot()
                    committed = dict(now)
                case ("roll_back",):
                    tables.roll_back(0)
                    now = dict(committed)
                case _:
                    if step == ("tear",):
                        for log in folder.glob("log-*"):
                            with log.open("ab") as out:
                                out.write(b'{"rows":[["t","a",{"n"')
                    tables = Tables(folder)
                    assert tables.load()
                    now = dict(committed)
            assert tables["t"].rows == now
        again = Tables(folder)
        assert again.load()
        assert again["t"].rows == committed
    finally:
        shutil.rmtree(folder)


@given(st.lists(st.tuples(st.sampled_from("abc"), ROWS), max_size=30))
def test_an_index_finds_what_a_scan_finds(puts: list[tuple[str, dict[str, object] | None]]) -> None:
    table = Table()
    table.find("n", 0)
    for key, row in puts:
        table.put(key, row)
        for value in range(4):
            scan = sorted(k for k, r in table.rows.items() if r.get("n") == value)
            assert table.find("n", value) == scan


def test_counters_go_on_after_a_restart(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.snapshot()
    assert [tables.next_number("x", 5) for _ in range(3)] == [5, 6, 7]
    tables.commit()
    again = Tables(tmp_path)
    again.load()
    assert again.next_number("x", 5) == 8


def test_a_torn_last_line_spoils_nothing_written_after_it(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.snapshot()
    tables.put("t", "a", {"n": 1})
    tables.commit()
    with next(tmp_path.glob("log-*")).open("ab") as log:
        log.write(b'{"rows":[["t","b",')
    again = Tables(tmp_path)
    again.load()
    again.put("t", "c", {"n": 3})
    again.commit()
    third = Tables(tmp_path)
    third.load()
    assert third["t"].rows == {"a": {"n": 1}, "c": {"n": 3}}
