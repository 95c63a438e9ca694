"""Whether what was built can be true: what asset checks tell of profiles and audiences."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cdp_assets import audiences, identity
from cdp_assets.audiences import AudienceResult
from cdp_assets.lake import Lake, Table

KEY = "profile_id"
JUMP = 0.5
"""An audience that changes by more than this share of itself at once is looked at by a person."""
SMALL = 20
"""Audiences that stay below this many members may double in a day."""


@dataclass(frozen=True)
class ProfilesFound:
    """profiles: rows of profiles/<entity>. identified: profiles in identity's graph. missing: of
    these without a row. surplus: rows of a profile that the graph does not know. doubled: profiles
    with several rows. moved_on: the graph was changed since the profiles were built, so that the
    two cannot be compared."""

    profiles: int
    identified: int
    missing: int
    surplus: int
    doubled: int
    moved_on: bool

    @property
    def sound(self) -> bool:
        """Whether each profile of the graph has its one row, and nobody else has one."""
        apart = 0 if self.moved_on else self.missing + self.surplus
        return self.doubled + apart == 0


def profiles_found(lake: Lake, entity: str) -> ProfilesFound:
    """The rows of profiles/<entity> held against the graph that they were built from."""
    graph, table = lake.open(identity.GRAPH), lake.open(_profiles(entity))
    moved_on = table.watermark(identity.GRAPH.key) != graph.seq()
    known = graph.scan().filter(pl.col("entity") == entity).select(KEY).unique().collect()
    rows = table.scan().select(KEY).collect()
    ids = rows.unique()
    return ProfilesFound(
        profiles=rows.height,
        identified=known.height,
        missing=known.join(ids, on=KEY, how="anti").height,
        surplus=ids.join(known, on=KEY, how="anti").height,
        doubled=rows.height - ids.height,
        moved_on=moved_on,
    )


def strangers(lake: Lake, name: str, entity: str) -> int:
    """How many present members of an audience have no profile."""
    known = lake.open(_profiles(entity)).scan().select(KEY)
    return audiences.members(lake, name).join(known, on=KEY, how="anti").collect().height


def jumped(result: AudienceResult) -> bool:
    """Whether a build moved an audience by more than JUMP of what it was. A first build moves
    nobody: the audience was not there before."""
    before = result.members - result.entered + result.left
    if before == 0 or max(before, result.members) < SMALL:
        return False
    return abs(result.members - before) > JUMP * before


def _profiles(entity: str) -> Table:
    return Table(key=f"profiles/{entity}", schema={KEY: pl.Int64()}, primary_key=(KEY,))
