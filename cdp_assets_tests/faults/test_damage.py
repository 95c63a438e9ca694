"""A data file cut short under a running platform."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from cdp_assets.components.dagster_assets import safe_errors
from cdp_assets.lake import Lake, Table

TABLE = Table(key="t", schema={"k": pl.Int64(), "name": pl.String()}, primary_key=("k",))


def test_a_panic_of_the_engine_keeps_its_text(tmp_path: Path) -> None:
    """polars panics on such a file; that is no Exception, and must not reach Dagster as it is."""
    opened = Lake(tmp_path).open(TABLE)
    opened.merge(pl.DataFrame({"k": [1], "name": ["Ada"]}))
    (file,) = (tmp_path / "t.delta").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-100])

    @safe_errors
    def step() -> int:
        return opened.scan().collect().height

    with pytest.raises(dg.Failure) as failure:
        step()
    assert "withheld" in str(failure.value.description)
