from __future__ import annotations

import gzip
import shutil
import tempfile
import tracemalloc
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.events.lines import read_lines
from cdp_assets.events.stream import chunks
from cdp_assets.events.typed import TraitSpec
from cdp_assets.lake import Lake
from cdp_assets.raw.files import find, open_bytes
from cdp_assets.raw.tables import FILES, QUARANTINE
from cdp_assets_tests.events.test_model import POISON
from cdp_assets_tests.events.world import (
    DECIMAL,
    NOW,
    PROPERTIES,
    content,
    event,
    line,
    run,
    source,
    table,
    write,
)


@st.composite
def journeys(draw: st.DrawFn) -> list[bytes]:
    """Events of a few devices and users, e-mails changing back and forth, times not in order,
    some without a time of their own."""
    lines = []
    for number in range(draw(st.integers(1, 14))):
        fields: dict[str, Any] = {"messageId": f"m{draw(st.integers(0, 9))}"}
        if draw(st.booleans()):
            fields["type"] = "identify"
            fields["userId"] = draw(st.sampled_from([None, "u1", "u2"]))
            fields["traits"] = {"email": draw(st.sampled_from([None, "a@x", "b@x", ""]))}
        if draw(st.integers(0, 5)) == 0:
            fields |= {"originalTimestamp": None, "sentAt": None}
        # the same id at the same time is the same event, whatever else it says: let it say so
        at = draw(st.integers(0, 60))
        made = event(at, **fields)
        lines.append((str(made["messageId"]), at, number, line(made)))
    first: dict[tuple[Any, ...], bytes] = {}
    return [first.setdefault(key_of(text), text) for *_, text in lines]


def key_of(text: bytes) -> tuple[Any, ...]:
    import json

    made = json.loads(text)
    return made["messageId"], made["anonymousId"], made.get("originalTimestamp")


@settings(deadline=None, max_examples=5)
@given(journeys(), st.data())
def test_any_split_order_and_batching_gives_the_same_tables(
    lines: list[bytes], data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        one = Lake(folder / "one", clock=lambda: NOW)
        run(one, source(folder / "a"), values=())
        write(folder / "a", "all.jsonl", lines)
        run(one, source(folder / "a"))

        many = Lake(folder / "many", clock=lambda: NOW)
        shuffled = data.draw(st.permutations(lines))
        repeated = shuffled + data.draw(st.lists(st.sampled_from(lines), max_size=5))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(repeated)), max_size=3)))
        for start, end in zip([0, *cuts], [*cuts, len(repeated)], strict=True):
            write(folder / "b", f"{start}-{end}.jsonl", repeated[start:end])
            if data.draw(st.booleans()):
                run(many, source(folder / "b"), chunk_rows=data.draw(st.integers(1, 20)))
        run(many, source(folder / "b"), chunk_rows=3)
        leave_out = ("origin", "row_number")
        assert content(many, leave_out) == content(one, leave_out)
    finally:
        shutil.rmtree(folder)


def test_poison_among_a_thousand_is_quarantined_and_the_rest_goes_on(
    lake: Lake, tmp_path: Path
) -> None:
    lines = [line(event(number)) for number in range(1_000)]
    places = {}
    for at, (_, text, reason) in enumerate(POISON):
        places[40 * at + 8] = reason
        lines[40 * at + 7] = text
    lines[990] = b'{"type":"page","userId":"' + b"x" * (1 << 20) + b'"}'
    places[991] = "too_long"
    path = write(tmp_path / "in", "a.jsonl", lines)
    result = run(lake, source(tmp_path / "in"))
    assert (result.read, result.stored) == (1_000, 1_000 - len(places))
    kept = lake.open(QUARANTINE).scan().collect()
    assert dict(kept.select("position", "reason").rows()) == places
    assert kept["step"].unique().to_list() == ["events/app"]
    noted = lake.open(FILES).scan().collect().row(0, named=True)
    assert kept["origin"].unique().to_list() == [noted["sha256"]]
    assert (noted["path"], noted["state"], noted["rows"]) == (str(path), "ingested", 1_000)
    payloads = dict(kept.select("position", "payload").rows())
    assert payloads[8] == b"{bad"
    assert len(payloads[991]) == 4096


def test_a_line_of_a_hundred_megabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(line(event(1)) + b"\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + line(event(2)))
    tracemalloc.start()
    with open_bytes(str(path)) as stream:
        blocks = list(read_lines(stream, block=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    refused = [r for block in blocks for r in block.refused]
    assert [(r.position, r.reason, len(r.payload)) for r in refused] == [(2, "too_long", 4096)]
    assert sum(len(block) for block in blocks) == 3
    assert peak < 16_000_000


def test_large_lines_make_smaller_chunks(tmp_path: Path, lake: Lake) -> None:
    for number in range(3):
        write(tmp_path / "in", f"{number}.jsonl", [line(event(number))])
    spec = source(tmp_path / "in")
    found = find(lake, "app", spec.config.path, NOW, settle=timedelta(0)).new
    files = [(spec, file, file.sha256) for file in found]
    assert len(list(chunks(files, {}, TraitSpec([]), size=1))) == 4  # the last ends the files
    assert len(list(chunks(files, {}, TraitSpec([])))) == 1


def test_lines_do_not_depend_on_blocks(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + b"\n".join([b"{1}", b"", b"a" * 40, b"\xff", b"{2}\r", b"last"])
    (tmp_path / "a").write_bytes(data)
    seen = set()
    for block in range(1, 60):
        with (tmp_path / "a").open("rb") as stream:
            blocks = list(read_lines(stream, limit=30, block=block))
        lines = tuple(t for b in blocks for t in b.lines())
        refused = tuple((r.position, r.reason, r.detail) for b in blocks for r in b.refused)
        assert [b.first for b in blocks] == [
            1 + sum(len(b) for b in blocks[:i]) for i in range(len(blocks))
        ]
        seen.add((lines, refused))
    if len(data) > 3:
        seen = {s for s in seen if s[0][0] == "{1}"}
    assert seen == {
        (("{1}", "", "", b"\xff", "{2}", "last"), ((3, "too_long", "40 bytes in one line"),))
    }


def test_money_is_exact_and_a_clash_is_kept_beside(lake: Lake, tmp_path: Path) -> None:
    texts = [b"0.1", b'"12345678901234567.123456789"', b'"free"', b"null", b"1e2"]
    lines = [
        line(event(n)).replace(b'{"revenue": %.1f' % (n + 0.5), b'{"revenue": ' + text)
        for n, text in enumerate(texts)
    ]
    write(tmp_path / "in", "a.jsonl", lines)
    run(lake, source(tmp_path / "in"))
    typed = table(lake, "events/order_completed").sort("message_id")
    assert typed["revenue"].to_list() == [
        Decimal("0.1"), Decimal("12345678901234567.123456789"), None, None, Decimal(100)
    ]  # fmt: skip
    assert typed["revenue__str"].to_list() == [None, None, "free", None, None]


def test_one_event_sent_twice_a_collision_and_a_reused_id(lake: Lake, tmp_path: Path) -> None:
    lines = [
        line(event(1)),
        line(event(1, sentAt="2026-02-01T00:00:00Z", receivedAt="2026-02-01T00:00:01Z")),
        line(event(1, anonymousId="other")),
        line(event(1, originalTimestamp="2026-01-01T01:30:00Z")),
    ]
    write(tmp_path / "in", "a.jsonl", lines)
    result = run(lake, source(tmp_path / "in"))
    assert (result.stored, result.duplicates, result.reused_id) == (3, 1, 1)
    # sixty days later, by another file: still a duplicate
    write(tmp_path / "in", "b.jsonl", [lines[1]])
    result = run(lake, source(tmp_path / "in"), now=NOW + timedelta(days=60))
    assert (result.stored, result.duplicates, result.reused_id) == (0, 1, 0)


def test_an_event_without_a_time_is_known_on_every_day(lake: Lake, tmp_path: Path) -> None:
    bare = line(event(1, originalTimestamp=None, sentAt=None, receivedAt=None))
    write(tmp_path / "in", "a.jsonl", [bare])
    assert run(lake, source(tmp_path / "in")).stored == 1
    write(tmp_path / "in", "b.jsonl", [bare, line(event(2))])
    result = run(lake, source(tmp_path / "in"), now=NOW + timedelta(days=3))
    assert (result.stored, result.duplicates) == (1, 1)
    row = table(lake, "events").filter(message_id="m1").row(0, named=True)
    assert row["flags"] == ["no_time"]
    assert (row["timestamp"], row["event_day"]) == (NOW, NOW.date())


def test_two_clicks_without_ids_are_two_and_stay_two(lake: Lake, tmp_path: Path) -> None:
    click = line(event(1, messageId=None))
    write(tmp_path / "in", "a.jsonl", [click, click])
    assert run(lake, source(tmp_path / "in")).stored == 2
    again = run(lake, source(tmp_path / "in"), days=(date(2026, 1, 1), date(2026, 1, 1)))
    assert (again.read, again.stored, again.duplicates) == (2, 0, 2)


def test_a_file_that_grew_brings_only_what_is_new(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    click = line(event(1, messageId=None))
    half = line(event(2, messageId=None))
    path = write(folder, "log.jsonl", [click, click])
    path.write_bytes(path.read_bytes() + half[:40])
    first = run(lake, source(folder))
    assert (first.stored, first.quarantined) == (2, 1)
    path.write_bytes(path.read_bytes() + half[40:] + b"\n" + click + b"\n")
    second = run(lake, source(folder))
    assert (second.stored, second.duplicates) == (2, 2)
    write(folder, "log.jsonl", [*path.read_bytes().splitlines(), click])
    assert run(lake, source(folder)).stored == 1
    again = run(lake, source(folder), days=(date(2026, 1, 1), date(2026, 1, 1)))
    assert (again.stored, again.duplicates) == (0, 5)
    # written anew, not written on: other clicks
    write(folder, "log.jsonl", [half, click])
    assert run(lake, source(folder)).stored == 2


def test_known_bytes_a_cut_gzip_and_an_empty_file(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    lines = [line(event(number)) for number in range(50)]
    write(folder, "a.jsonl", lines)
    write(folder, "copy.jsonl", lines)
    whole = gzip.compress(b"\n".join(line(event(n)) for n in range(100, 150)))
    (folder / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "whole.jsonl.gz").write_bytes(whole)
    result = run(lake, source(folder))
    assert (result.stored, result.same_bytes, result.failed) == (100, 1, 1)
    states = dict(
        lake.open(FILES).scan().select(pl.col("path").str.split("/").list.last(), "state")
        .collect().rows()
    )  # fmt: skip
    assert states == {
        "a.jsonl": "ingested", "copy.jsonl": "same_bytes", "cut.jsonl.gz": "failed",
        "empty.jsonl": "empty", "whole.jsonl.gz": "ingested",
    }  # fmt: skip
    assert run(lake, source(folder)).read == 0


def test_nothing_new_commits_nothing(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", [line(event(1))])
    run(lake, source(tmp_path / "in"))
    logs = sorted(lake.root.rglob("_delta_log/*.json"))
    run(lake, source(tmp_path / "in"))
    assert sorted(lake.root.rglob("_delta_log/*.json")) == logs


def test_days_read_again_change_nothing_and_bring_back_what_is_gone(
    lake: Lake, tmp_path: Path
) -> None:
    write(tmp_path / "in", "a.jsonl", [line(event(number)) for number in range(60)])
    first = run(lake, source(tmp_path / "in"))
    assert first.by_day == {date(2026, 1, 1): 24, date(2026, 1, 2): 24, date(2026, 1, 3): 12}
    before = content(lake)
    days = (date(2026, 1, 2), date(2026, 1, 2))
    again = run(lake, source(tmp_path / "in"), days=days)
    assert again.by_day == dict.fromkeys(first.by_day, 0)
    assert content(lake) == before


def test_days_before_any_file_was_read_read_it(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", [line(event(number)) for number in range(3)])
    days = (date(2026, 1, 1), date(2026, 1, 1))
    assert run(lake, source(tmp_path / "in"), days=days).stored == 3


@settings(deadline=None, max_examples=3)
@given(journeys())
def test_a_name_given_later_equals_one_given_at_first(lines: list[bytes]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        write(folder / "in", "a.jsonl", lines)
        later, first = Lake(folder / "later"), Lake(folder / "first")
        run(later, source(folder / "in"), properties={}, values=())
        run(later, source(folder / "in"), properties={"Order Completed": {"revenue": pl.String()}},
            values=["events.traits.plan"])  # fmt: skip
        run(later, source(folder / "in"))
        run(first, source(folder / "in"))
        assert content(later) == content(first)
    finally:
        shutil.rmtree(folder)


def test_a_name_that_was_away_is_complete_when_it_returns(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder, "a.jsonl", [line(event(1))])
    run(lake, source(folder))
    write(folder, "b.jsonl", [line(event(2))])
    run(lake, source(folder), properties={})
    assert len(table(lake, "events/order_completed")) == 1
    run(lake, source(folder))
    assert len(table(lake, "events/order_completed")) == 2


def told(number: int, email: str | None, **fields: Any) -> bytes:
    return line(event(number, type="identify", anonymousId="d", traits={"email": email}, **fields))


def values(lake: Lake) -> list[tuple[Any, ...]]:
    found = table(lake, "events/values").sort("changed_at", "visitor")
    return found.select("identifier", "value", pl.col("changed_at").dt.hour()).rows()


def test_a_device_repeating_itself_is_no_news_and_a_late_event_finds_its_place(
    lake: Lake, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    write(folder, "a.jsonl", [told(1, "a@x"), told(2, "a@x"), told(5, "a@x"), told(7, None)])
    run(lake, source(folder))
    assert values(lake) == [("anonymous_id:d", "a@x", 1), ("anonymous_id:d", None, 7)]
    write(folder, "b.jsonl", [told(3, "b@x")])
    run(lake, source(folder))
    assert values(lake) == [
        ("anonymous_id:d", "a@x", 1), ("anonymous_id:d", "b@x", 3), ("anonymous_id:d", "a@x", 5),
        ("anonymous_id:d", None, 7),
    ]  # fmt: skip
    # an earlier beginning of the same run takes its place
    write(folder, "c.jsonl", [told(0, "a@x")])
    run(lake, source(folder))
    assert values(lake)[0] == ("anonymous_id:d", "a@x", 0)
    assert len(values(lake)) == 4


def test_each_device_repeats_only_itself(lake: Lake, tmp_path: Path) -> None:
    lines = [
        told(1, "old@x", userId="u"),
        line(event(2, type="identify", anonymousId=None, userId="u", traits={"email": "new@x"})),
        told(3, "old@x", userId="u"),
    ]
    write(tmp_path / "in", "a.jsonl", lines)
    run(lake, source(tmp_path / "in"))
    assert values(lake) == [("user_id:u", "old@x", 1), ("user_id:u", "new@x", 2)]


def test_traits_under_context_count_and_absent_ones_do_not(lake: Lake, tmp_path: Path) -> None:
    lines = [
        line(event(1, type="identify", context={"traits": {"email": "c@x", "plan": "pro"}},
                   traits={"plan": None})),
    ]  # fmt: skip
    write(tmp_path / "in", "a.jsonl", lines)
    run(lake, source(tmp_path / "in"))
    found = table(lake, "events/values").select("field", "value").sort("field").rows()
    assert found == [("events.traits.email", "c@x"), ("events.traits.plan", None)]


def test_two_sources_keep_their_ids_apart(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a", "a.jsonl", [line(event(1))])
    write(tmp_path / "b", "b.jsonl", [line(event(1)), line(event(2))])
    result = run(lake, source(tmp_path / "a", "web"), source(tmp_path / "b", "app"))
    assert result.stored == 3


def test_a_reserved_name_is_refused_before_anything_is_written(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", [line(event(1))])
    with pytest.raises(ValueError, match="reserved"):
        run(lake, source(tmp_path / "in"), properties={"Facts": {}})
    assert lake.keys() == []


def test_properties_named_like_columns_of_the_event(lake: Lake, tmp_path: Path) -> None:
    properties = {"Order Completed": {"user_id": pl.String(), "timestamp": DECIMAL}}
    text = line(event(1, properties={"user_id": "impostor", "timestamp": 5}, userId="u"))
    write(tmp_path / "in", "a.jsonl", [text])
    run(lake, source(tmp_path / "in"), properties=properties)
    row = table(lake, "events/order_completed").row(0, named=True)
    assert row["user_id"] == "u"
    assert "impostor" in row.values()
    assert PROPERTIES.keys() >= {"Order Completed"}
