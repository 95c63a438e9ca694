"""Who came and who went: the difference between two memberships, on any engine."""

from __future__ import annotations

from typing import Any

import narwhals as nw

KEY = "profile_id"


def entered(standing: nw.LazyFrame[Any], members: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """profile_id of those in `members` who are not in `standing`.

    standing: profile_id of the members so far. members: profile_id, once each, of those for whom
    the condition holds now.
    """
    return members.select(KEY).join(standing.select(KEY), on=KEY, how="anti")


def left(standing: nw.LazyFrame[Any], members: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rows of `standing` (profile_id, entered_at) who are not in `members` any more; a
    profile that was merged away leaves under its old id, since it is in no `members`."""
    return standing.select(KEY, "entered_at").join(members.select(KEY), on=KEY, how="anti")


def holding(profiles: nw.LazyFrame[Any], condition: nw.Expr) -> nw.LazyFrame[Any]:
    """profile_id of the profiles for which `condition` holds; unknown (null) is no member."""
    return profiles.filter(condition.fill_null(value=False)).select(KEY)
