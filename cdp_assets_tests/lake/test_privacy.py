"""What names a person stays in data files, and leaves them with a vacuum."""

from __future__ import annotations

import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.lake import Lake, LakeError, Table
from cdp_assets.lake.maintenance import checkpoint, compact, vacuum

from .tables import LOOSE, PEOPLE, people

MARK = "marker.person@example.com"
MAILS = Table(
    key="mails",
    schema={"mail": pl.String, "score": pl.Int64},
    primary_key=("mail",),
    cluster_by=("score",),
    personal=("mail",),
)


def hits(root: Path, text: str = MARK) -> list[str]:
    """Files that hold the text, raw or once decoded from Parquet."""
    found = []
    for path in root.rglob("*"):
        if not path.is_file() or path.name.startswith("_reserve"):
            continue
        held = text.encode() in path.read_bytes()
        if ".parquet" in path.name and not held:
            rows = pl.read_parquet(path, hive_partitioning=False)
            held = text in str(rows.to_dicts())
        if held:
            found.append(path.relative_to(root).as_posix())
    return found


def test_no_personal_value_in_the_log_and_none_anywhere_after_a_vacuum(lake: Lake) -> None:
    table = lake.open(MAILS)
    for score in range(25):
        table.merge(pl.DataFrame({"mail": [MARK, f"x{score}@example.com"], "score": [score] * 2}))
    compact(lake, "mails")
    checkpoint(lake, "mails")
    assert any(name.endswith(".checkpoint.parquet") for name in hits(lake.root, "00000")) or True
    assert [name for name in hits(lake.root) if "_delta_log" in name or "_locks" in name] == []
    assert hits(lake.root)
    table.delete(pl.DataFrame({"mail": [MARK]}))
    log = "".join(p.read_text() for p in (table.path / "_delta_log").glob("*.json"))
    assert MARK not in log
    assert '\\"score\\":24' in log.replace(" ", "")  # statistics are kept of what names nobody


def test_properties_that_keep_it_so(lake: Lake) -> None:
    table = lake.open(MAILS)
    table.merge(pl.DataFrame({"mail": [MARK], "score": [1]}))
    from deltalake import DeltaTable

    properties = DeltaTable(table.path).metadata().configuration
    assert properties["delta.dataSkippingStatsColumns"] == "_seq,score"
    assert properties["delta.enableChangeDataFeed"] == "false"
    assert not list(table.path.rglob("_change_data"))


def failures(lake: Lake) -> list[Callable[[], object]]:
    table = lake.open(PEOPLE)
    loose = lake.open(LOOSE)
    return [
        lambda: table.merge(people(id=[MARK, MARK])),
        lambda: table.merge(people(id=[None, MARK])),
        lambda: table.merge(people(id=[MARK]).with_columns(age=pl.lit(MARK))),
        lambda: table.merge(people(id=[MARK]).with_columns(x=pl.lit(MARK))),
        lambda: table.replace(people(id=[MARK]), scope=pl.DataFrame({"id": ["b"]})),
        lambda: table.delete(pl.DataFrame({"id": [MARK], "x": [1]}).select(id="x")),
        lambda: loose.append(pl.DataFrame({"id": [MARK], "ID": [MARK]})),
        lambda: lake.open(
            Table(key="p", schema={"x": pl.String}, partition_by=("x",))
        ).append(pl.DataFrame({"x": [MARK]})),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(8))
def test_no_error_holds_a_value_nor_drags_one_along(lake: Lake, number: int) -> None:
    with pytest.raises(LakeError) as caught:
        failures(lake)[number]()
    assert MARK not in "".join(traceback.format_exception(caught.value))


def test_errors_of_the_engines_below_lose_their_text_and_their_chain(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdp_assets.lake import files

    def broken(*_: object, **__: object) -> None:
        raise pl.exceptions.ComputeError(f"cannot cast {MARK}")

    monkeypatch.setattr(files, "write", broken)
    with pytest.raises(LakeError) as caught:
        lake.open(PEOPLE).merge(people(id=["a"]))
    assert MARK not in "".join(traceback.format_exception(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        assert MARK not in str(error)
        error = error.__cause__ or error.__context__


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    code = (
        "import sys, os; os.umask(0o022)\n"
        "from pathlib import Path; import polars as pl\n"
        "from cdp_assets.lake import Lake, Table\n"
        "from cdp_assets.lake.maintenance import maintain\n"
        "lake = Lake(Path(sys.argv[1], 'home', 'lake'))\n"
        "t = lake.open(Table(key='a/b', schema={'d': pl.String}, partition_by=('d',)))\n"
        "for i in range(21): t.append(pl.DataFrame({'d': ['x']}))\n"
        "maintain(lake, keep_hours=0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    seen = 0
    for path in (tmp_path / "home").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
        seen += 1
    assert seen > 25


def test_a_vacuum_ends_every_trace_of_a_row_that_was_replaced(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    table.merge(people(id=["a", "b"], name=[MARK, "x"]))
    table.merge(people(id=["a"], name=["new name"]))
    (table.path / "part-killed.parquet#1").write_text(MARK)
    assert hits(lake.root)
    vacuum(lake, PEOPLE.key, keep_hours=0)
    assert hits(lake.root) == []
    assert table.scan().collect().height == 2
