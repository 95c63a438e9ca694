"""Files in folders: new, renamed, growing, packed, broken."""

from __future__ import annotations

import gzip
import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cdp_assets.lake import Lake
from cdp_assets.raw import files
from cdp_assets.raw.files import FileNote, FileScan, UnreadableFile, open_bytes

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def look(lake: Lake, folder: Path, now: datetime = NOW) -> FileScan:
    return files.find(lake, "app", f"{folder}/*.jsonl*", now, settle=timedelta(0))


def read(lake: Lake, scan: FileScan, *days: date) -> None:
    files.note(lake, [*scan.skipped, *[FileNote(f, "ingested", 1, days) for f in scan.new]])


def names(scan: FileScan) -> list[str]:
    return [Path(f.path).name for f in scan.new]


def test_a_file_is_new_once(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(b"{}\n")
    (folder / "b.jsonl").write_bytes(b"[]\n")
    assert files.has_new(lake, "app", f"{folder}/*.jsonl")
    scan = look(lake, folder)
    assert names(scan) == ["a.jsonl", "b.jsonl"]
    assert names(look(lake, folder)) == names(scan), "looking notes nothing"
    read(lake, scan)
    assert not files.has_new(lake, "app", f"{folder}/*.jsonl")
    scan = look(lake, folder)
    assert (scan.new, scan.unchanged) == ((), 2)


def test_other_bytes_in_the_same_second_and_size_are_seen(lake: Lake, folder: Path) -> None:
    path = folder / "a.jsonl"
    path.write_bytes(b"{}\n")
    read(lake, look(lake, folder))
    path.write_bytes(b"[]\n")
    os.utime(path, ns=(path.stat().st_mtime_ns + 1, path.stat().st_mtime_ns + 1))
    assert names(look(lake, folder)) == ["a.jsonl"]


def test_the_same_bytes_under_another_name_are_skipped_and_said_so(
    lake: Lake, folder: Path
) -> None:
    (folder / "a.jsonl").write_bytes(b"{}\n")
    (folder / "twin.jsonl").write_bytes(b"{}\n")
    scan = look(lake, folder)
    assert names(scan) == ["a.jsonl"]
    assert [n.state for n in scan.skipped] == ["same_bytes"]
    assert scan.skipped[0].reason == f"same bytes as {folder}/a.jsonl"
    read(lake, scan)
    (folder / "a.jsonl").rename(folder / "c.jsonl")
    scan = look(lake, folder)
    assert (names(scan), [n.state for n in scan.skipped]) == ([], ["same_bytes"])


def test_a_file_that_was_only_touched_is_not_read_again(lake: Lake, folder: Path) -> None:
    path = folder / "a.jsonl"
    path.write_bytes(b"{}\n")
    read(lake, look(lake, folder), date(2026, 1, 1))
    os.utime(path, ns=(1, 1))
    scan = look(lake, folder, NOW + timedelta(days=1))
    assert scan.new == ()
    assert scan.unchanged == 1
    assert scan.skipped[0].state == "ingested"
    assert scan.skipped[0].file.first_seen == NOW
    read(lake, scan)
    assert not files.has_new(lake, "app", f"{folder}/*.jsonl")


def test_a_growing_file_waits(lake: Lake, folder: Path) -> None:
    path = folder / "a.jsonl"
    path.write_bytes(b"{}\n")
    (folder / "b.jsonl").write_bytes(b"[]\n")
    os.utime(folder / "b.jsonl", (1, 1))

    def meanwhile(_: float) -> None:
        with path.open("ab") as more:
            more.write(b"{}\n")

    scan = files.find(
        lake, "app", f"{folder}/*", NOW, settle=timedelta(seconds=60), sleep=meanwhile
    )
    assert (names(scan), [Path(p).name for p in scan.growing]) == (["b.jsonl"], ["a.jsonl"])


def test_empty_and_hidden_and_unfinished(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").touch()
    (folder / ".b.jsonl").write_bytes(b"{}")
    (folder / "c.jsonl.part").write_bytes(b"{}")
    scan = look(lake, folder)
    assert scan.new == ()
    assert [n.state for n in scan.skipped] == ["empty"]


def test_half_a_gzip_file_is_found_before_its_first_row_is_taken(lake: Lake, folder: Path) -> None:
    whole = gzip.compress(os.urandom(3_000_000), 1)
    (folder / "a.jsonl.gz").write_bytes(whole[:-7])
    (folder / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "c.jsonl.gz").write_bytes(whole)
    (folder / "d.jsonl.gz").write_bytes(whole[:-9] + b"\0" * 9)
    scan = look(lake, folder)
    assert names(scan) == ["c.jsonl.gz"]
    assert [(Path(n.file.path).name, n.state) for n in scan.skipped] == [
        ("a.jsonl.gz", "failed"),
        ("b.jsonl.gz", "failed"),
        ("d.jsonl.gz", "failed"),
    ]
    assert "no whole gzip file" in str(scan.skipped[0].reason)
    read(lake, scan)
    assert look(lake, folder).unchanged == 4
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    assert names(look(lake, folder)) == ["a.jsonl.gz"]


def test_a_file_that_breaks_while_it_is_read(folder: Path) -> None:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(os.urandom(3_000_000))[:-5])
    with open_bytes(str(folder / "a.jsonl.gz")) as stream, pytest.raises(UnreadableFile) as caught:
        list(iter(lambda: stream.read(1 << 16), b""))
    assert "a.jsonl.gz" in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("written", "encoding"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-16-le", "utf-16-le"),
        ("windows-1252", "windows-1252"),
        ("utf-8", "utf-8"),
    ],
)
def test_text_comes_as_utf_8(
    folder: Path, written: str, encoding: str | None, packed: bool
) -> None:
    text = 'näme;"Zoë"\r\n' * 5_000
    path = folder / "a.csv"
    body = text.encode(written)
    path.write_bytes(gzip.compress(body) if packed else body)
    with open_bytes(str(path), encoding=encoding) as stream:
        parts = []
        while part := stream.read(777):
            parts.append(part)
    assert b"".join(parts) == text.encode()


def test_bytes_that_the_encoding_does_not_know_stay_undecodable(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"a\x81b\n")
    with open_bytes(str(folder / "a.csv"), encoding="windows-1252") as stream:
        body = stream.read()
    with pytest.raises(UnicodeDecodeError):
        body.decode()


def test_a_file_that_vanishes_while_others_are_read_is_passed_over(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).write_text(name)
    whole = files.inspect

    def inspect(path: str) -> tuple[str, str | None]:
        (folder / "a.jsonl").unlink(missing_ok=True)
        return whole(path)

    monkeypatch.setattr(files, "inspect", inspect)
    found = look(lake, folder)
    assert [Path(f.path).name for f in found.new] == ["b.jsonl"]
    assert found.growing == ()


def test_files_that_hold_a_day_are_found_again(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(b"{}\n")
    (folder / "b.jsonl").write_bytes(b"[]\n")
    scan = look(lake, folder)
    first, second = scan.new
    files.note(
        lake,
        [
            FileNote(first, "ingested", 2, (date(2026, 1, 1), date(2026, 1, 5))),
            FileNote(second, "ingested", 1, (date(2026, 1, 3),)),
        ],
    )
    found = files.holding(lake, "app", date(2026, 1, 2), date(2026, 1, 4))
    assert names(found) == ["b.jsonl"]
    (folder / "a.jsonl").unlink()
    found = files.holding(lake, "app", date(2026, 1, 1), date(2026, 1, 1))
    assert (found.new, found.missing) == ((), (f"{folder}/a.jsonl",))


def test_a_thousand_files_are_looked_at_without_reading_them(lake: Lake, folder: Path) -> None:
    for number in range(300):
        (folder / f"{number}.jsonl").write_bytes(b"%d\n" % number)
    scan = look(lake, folder)
    read(lake, scan)
    started = time.perf_counter()
    assert look(lake, folder).unchanged == 300
    assert time.perf_counter() - started < 0.5
