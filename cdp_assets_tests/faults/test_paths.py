"""The home may lie in any folder that people make."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cdp_assets.lake import Lake, Table, fsck, maintenance
from cdp_assets.settings import Settings

KEYED = Table(
    key="x/keyed", schema={"k": pl.Int64(), "day": pl.String()}, primary_key=("k",)
)  # fmt: skip
PARTED = Table(
    key="x/parted", schema={"k": pl.Int64(), "day": pl.String()}, partition_by=("day",)
)  # fmt: skip


@pytest.mark.parametrize("name", ["Ada Müller", "a%b", "50% & more", "[old] #2", "it's", "a+b"])
def test_a_lake_in_any_folder(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name)
    keyed, parted = lake.open(KEYED), lake.open(PARTED)
    keyed.merge(pl.DataFrame({"k": [1, 2], "day": ["a", "b"]}))
    keyed.merge(pl.DataFrame({"k": [1, 2], "day": ["a", "c"]}))
    parted.append(pl.DataFrame({"k": [1], "day": ["a"]}))
    for _ in range(2):
        assert sorted(keyed.scan().select("k", "day").collect().rows()) == [(1, "a"), (2, "c")]
        assert keyed.changes(1).select("k").collect()["k"].to_list() == [2]
        assert parted.scan().filter(pl.col("day") == "a").collect().height == 1
        assert fsck.check(lake) == []
        maintenance.maintain(lake)


@pytest.mark.parametrize("name", ["env=prod", "a%20b", "a\\b", "a\nb"])
def test_folders_that_readers_misread_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="Choose another folder"):
        Settings(home=tmp_path / name)
