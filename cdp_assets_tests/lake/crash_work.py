"""One write, done in this process or in one that is killed: `python -m …crash_work ROOT VERB SIZE
MARK` with CDP_CRASH_AT set."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from cdp_assets.lake import Lake, Table
from cdp_assets.lake.maintenance import compact

KEYED = Table(key="k", schema={"id": pl.Int64, "x": pl.Int64}, primary_key=("id",))
PLAIN = Table(key="p", schema={"id": pl.Int64}, evolves=True)


def write(root: Path, verb: str, size: int, mark: int) -> None:
    """Do one write whose rows depend on nothing but the arguments."""
    lake = Lake(root)
    keyed, plain = lake.open(KEYED), lake.open(PLAIN)
    rows = pl.DataFrame({"id": range(size)}, schema={"id": pl.Int64})
    full = rows.with_columns(x=pl.lit(mark, dtype=pl.Int64))
    marks = {"in": mark}
    if verb == "append":
        plain.append(rows, watermarks=marks)
    elif verb == "widen":
        plain.append(rows.with_columns(y=pl.lit(1.5)), watermarks=marks)
    elif verb == "merge":
        keyed.merge(full, watermarks=marks)
    elif verb == "delete":
        keyed.delete(rows, watermarks=marks)
    elif verb == "replace":
        keyed.replace(full, scope=rows, watermarks=marks)
    elif verb == "compact":
        compact(lake, "p")


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
