"""Why these identifiers are one: the links taken, those refused, and the chain between any two."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cdp_assets.identity.past import resolve_as_of
from cdp_assets.identity.resolution import MEMBER, STORED
from cdp_assets.identity.rules import stored_rules
from cdp_assets.identity.tables import GRAPH, IDS, LINKS
from cdp_assets.lake import Lake


@dataclass(frozen=True)
class Step:
    """One link of a chain: walking from one identifier to the other, on what evidence."""

    start: str
    end: str
    source: str
    first_seen: datetime
    count: int
    example: str | None


@dataclass(frozen=True)
class Explanation:
    """One profile explained.

    identifiers: strongest first. links: the links taken (left, right, source, first_seen,
    last_seen, count, example). refused: the same with `reason` and `other`, the profile beyond.
    retired: ids that lead here now.
    """

    entity: str
    profile_id: int
    identifiers: list[str]
    links: pl.DataFrame
    refused: pl.DataFrame
    retired: list[int]

    def chain(self, start: str, end: str) -> list[Step]:
        """The shortest way from one identifier to another by links taken; empty where there is
        none. Of equally short ways that of the links seen first."""
        if start == end:
            return []
        steps: dict[str, list[Step]] = {}
        ways = self.links.sort("first_seen", "left", "right", "source")
        for row in ways.iter_rows(named=True):
            for one, other in ((row["left"], row["right"]), (row["right"], row["left"])):
                step = Step(
                    one, other, row["source"], row["first_seen"], row["count"], row["example"]
                )
                steps.setdefault(one, []).append(step)
        came: dict[str, Step] = {}
        waiting = deque([start])
        while waiting and end not in came:
            for step in steps.get(waiting.popleft(), []):
                if step.end not in came and step.end != start:
                    came[step.end] = step
                    waiting.append(step.end)
        chain: list[Step] = []
        while end in came:
            chain.insert(0, came[end])
            end = came[end].start
        return chain

    def lines(self) -> Iterator[str]:
        """The explanation for people: each identifier with the chain that joins it to the
        strongest one, and what was not joined."""
        if not self.identifiers:
            yield "  no identifier belonged to it"
        for identifier in self.identifiers[:1]:
            yield f"  {identifier}"
        for identifier, chain in self.why().items():
            yield f"  {identifier}"
            for step in chain:
                often = "" if step.count == 1 else f", {step.count:,} times"
                example = f", first {step.example}" if step.example else ""
                yield (
                    f"      {step.start} — {step.end}: {step.source}, since "
                    f"{step.first_seen:%Y-%m-%d %H:%M}{often}{example}"
                )
        rows = self.refused.select("left", "right", "reason", "source", "other").iter_rows()
        for left, right, reason, source, other in rows:
            beyond = "" if other is None else f" (profile {other})"
            yield f"  not joined: {left} — {right}{beyond}, {source}: {_reason(reason)}"
        if self.retired:
            yield f"  retired ids that lead here: {', '.join(map(str, self.retired))}"

    def why(self) -> dict[str, list[Step]]:
        """Identifier → the chain that joins it to the profile's strongest identifier."""
        first, *others = self.identifiers or [""]
        return {other: self.chain(first, other) for other in others}


def _reason(reason: str) -> str:
    if reason == "device":
        return "a device never joins two that are known by themselves"
    return f"the profile would hold more than its limit of {reason.removeprefix('limit:')}"


def explain(
    lake: Lake, entity: str, profile_id: int, *, as_of: datetime | None = None
) -> Explanation:
    """Why the identifiers of a profile are one, now or as of a past moment by today's rules.

    Without identifiers where there is (or was) no such profile. Retired ids are not followed: see
    `follow`.
    """
    if as_of is None:
        mine = pl.col("entity") == entity
        graph = lake.open(GRAPH).scan().filter(mine).select(MEMBER.keys())
        links = lake.open(LINKS).scan().filter(mine).select(STORED)
    else:
        past = resolve_as_of(lake, entity, as_of)
        graph, links = past.members.lazy(), past.links.lazy()
    own = graph.filter(pl.col("profile_id") == profile_id).collect()
    ids = own["identifier"].implode()
    near = (
        links.filter(pl.col("left").is_in(ids) | pl.col("right").is_in(ids))
        .sort("first_seen", "left", "right", "source")
        .collect()
    )
    taken = near.filter((pl.col("state") == "accepted") & (pl.col("left") != pl.col("right")))
    refused = near.filter(pl.col("state") == "refused").with_columns(
        beyond=pl.when(pl.col("left").is_in(ids)).then("right").otherwise("left")
    )
    others = refused.select(identifier="beyond").unique().lazy()
    profiles = graph.join(others, on="identifier", how="semi").collect()
    refused = refused.join(
        profiles.select("identifier", other="profile_id"),
        left_on="beyond",
        right_on="identifier",
        how="left",
    )
    ledger = lake.open(IDS).scan().filter(pl.col("entity") == entity)
    retired = ledger.filter(pl.col("redirect_to") == profile_id).select("profile_id").unique()
    ranks = dict(stored_rules(lake, entity).select("type", "rank").iter_rows())
    order = sorted(own["identifier"], key=lambda i: (ranks.get(i.partition(":")[0], 0), i))
    return Explanation(
        entity,
        profile_id,
        order,
        taken.drop("state", "reason"),
        refused.drop("state", "beyond"),
        sorted(retired.collect()["profile_id"]),
    )
