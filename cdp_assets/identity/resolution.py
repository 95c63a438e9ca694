"""What changes in links, graph and ledger when links come, go, or are seen first at another time.

A function of frames: only the components that these links touch are resolved anew, over accepted
and refused links together, and the result is that of resolving all links with the same ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cdp_assets.identity import evidence
from cdp_assets.identity.graph import components, kind_of
from cdp_assets.identity.ledger import LEDGER, assign
from cdp_assets.identity.rules import EntityRules

WHOLE_SHARE = 0.3
"""Share of an entity's identifiers beyond which all of it is resolved anew: closer looks cost more
than they spare."""

STORED = (*evidence.SCHEMA, "state", "reason")
STORED_SCHEMA = {**evidence.SCHEMA, "state": pl.String(), "reason": pl.String()}
MEMBER = {"identifier": pl.String(), "profile_id": pl.Int64()}


@dataclass(frozen=True)
class Resolution:
    """links: rows (as STORED) that are new, or whose verdict changed. members, before: identifier,
    profile_id of all identifiers that were resolved, now and until now. ledger: rows of the ledger
    that are new or differ."""

    links: pl.DataFrame
    members: pl.DataFrame
    before: pl.DataFrame
    ledger: pl.DataFrame


def resolve_links(
    fresh: pl.DataFrame,
    stale: pl.DataFrame,
    stored: pl.LazyFrame,
    graph: pl.DataFrame,
    ids: pl.DataFrame,
    rules: EntityRules,
    *,
    whole: bool,
) -> Resolution:
    """Resolve what new links touch.

    fresh: links (as evidence.SCHEMA) that are now; stale: the stored ones (as STORED) that they
        take the place of, all of the same keys among them; stale and not fresh is gone.
    stored: all stored links (as STORED). graph: identifier, profile_id. ids: the ledger.
    whole: resolve everything, as after a change of rules.
    """
    verdicts = stale.select(*evidence.KEY, "state", "reason")
    fresh = fresh.join(verdicts, on=evidence.KEY, how="left").select(STORED)
    touched = _touched(fresh, stale)
    if touched.is_empty() and not whole:
        nothing = pl.DataFrame(schema=MEMBER)
        return Resolution(fresh, nothing, nothing, pl.DataFrame(schema=LEDGER))
    reach = pl.DataFrame(schema={"identifier": pl.String()})
    if not whole:
        reach = _reach(touched, fresh, graph, stored, ids, rules)
        whole = reach.height > WHOLE_SHARE * max(graph.height, 1_000)
    near = stored
    if stale.height:
        near = near.join(stale.select(evidence.KEY).lazy(), on=evidence.KEY, how="anti")
    before = graph
    if not whole:
        near = near.join(reach.lazy(), left_on="left", right_on="identifier", how="semi")
        before = graph.join(reach, on="identifier", how="semi")
    kept = near.select(STORED).collect()
    links = pl.concat(
        [kept.with_columns(new=pl.lit(value=False)), fresh.with_columns(new=pl.lit(value=True))]
    )
    elsewhere = links.clear()
    if not whole:
        # A link that only counts one more event is kept as it is.
        elsewhere = links.join(reach, left_on="left", right_on="identifier", how="anti")
        links = links.join(reach, left_on="left", right_on="identifier", how="semi")
    found = components(links.rename({"state": "was", "reason": "was_reason"}), rules)
    strong = found.nodes.filter("strong").select("identifier", "component", "rank")
    ids_of = pl.concat(
        [
            ids.join(strong, left_on="anchor", right_on="identifier", how="semi").select(
                "profile_id"
            ),
            before.select("profile_id"),
        ]
    ).unique()
    last = ids["minted_seq"].max()
    assigned = assign(
        strong,
        ids.select(LEDGER.keys()).join(ids_of, on="profile_id", how="semi"),
        before,
        int(last) if isinstance(last, int) else 0,
    )
    members = strong.join(assigned.profiles, on="component").select(MEMBER.keys())
    return Resolution(
        pl.concat([_ruled(found.links), elsewhere.select(STORED)]),
        members,
        before.select(MEMBER.keys()),
        assigned.ledger,
    )


def _touched(fresh: pl.DataFrame, stale: pl.DataFrame) -> pl.DataFrame:
    """Identifiers at the ends of links that are new, gone, or seen first at another time."""
    before = stale.select(*evidence.KEY, was="first_seen")
    moved = fresh.join(before, on=evidence.KEY, how="left").filter(
        pl.col("first_seen").ne_missing(pl.col("was")) | pl.col("state").is_null()
    )
    gone = stale.join(fresh, on=evidence.KEY, how="anti")
    ends = [frame[end] for frame in (moved, gone) for end in ("left", "right")]
    return pl.DataFrame({"identifier": pl.concat(ends).unique()})


def _ruled(links: pl.DataFrame) -> pl.DataFrame:
    """Of judged links the new ones, and those whose verdict is another than before."""
    return links.filter(
        pl.col("new")
        | pl.col("state").ne_missing(pl.col("was"))
        | pl.col("reason").ne_missing(pl.col("was_reason"))
    ).select(STORED)


def _reach(
    touched: pl.DataFrame,
    fresh: pl.DataFrame,
    graph: pl.DataFrame,
    stored: pl.LazyFrame,
    ids: pl.DataFrame,
    rules: EntityRules,
) -> pl.DataFrame:
    """Identifiers of every component that a touched one reaches by links, refused or not.

    Within a profile everything is reached; beyond it by refused links, by links between weak
    identifiers, by new links, and between the anchors of one id.
    """
    weak = [t.name for t in rules.types if t.weak]
    loose = stored.filter(
        (pl.col("state") == "refused")
        | (kind_of(pl.col("left")).is_in(weak) & kind_of(pl.col("right")).is_in(weak))
    ).select("left", "right")
    several = ids.filter(pl.col("profile_id").is_duplicated()).select("anchor", "profile_id")
    twins = several.join(several, on="profile_id").select(left="anchor", right="anchor_right")
    edges = pl.concat([loose.collect(), fresh.select("left", "right"), twins])
    edges = pl.concat([edges, edges.select(left="right", right="left")]).unique()
    reach = frontier = touched
    while frontier.height:
        profiles = graph.join(frontier, on="identifier", how="semi").select("profile_id").unique()
        members = graph.join(profiles, on="profile_id", how="semi").select("identifier")
        inside = pl.concat([frontier, members]).unique()
        across = edges.join(inside, left_on="left", right_on="identifier", how="semi")
        found = pl.concat([inside, across.select(identifier="right")]).unique()
        frontier = found.join(reach, on="identifier", how="anti")
        reach = pl.concat([reach, frontier])
    return reach


def moves(before: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Identifiers that left the profile they were in: identifier, from, to, cause.

    cause: removed (no evidence is left), merge (its profile went into another), split (its profile
    is new, or came back), move.
    """
    still = members.select(pl.col("profile_id").alias("from")).unique()
    known = before.select(pl.col("profile_id").alias("to")).unique()
    return (
        before.rename({"profile_id": "from"})
        .join(members.rename({"profile_id": "to"}), on="identifier", how="left")
        .filter(pl.col("from").ne_missing(pl.col("to")))
        .join(still.with_columns(lives=pl.lit(value=True)), on="from", how="left")
        .join(known.with_columns(known=pl.lit(value=True)), on="to", how="left")
        .select(
            "identifier",
            "from",
            "to",
            cause=pl.when(pl.col("to").is_null())
            .then(pl.lit("removed"))
            .when(pl.col("lives").is_null())
            .then(pl.lit("merge"))
            .when(pl.col("known").is_null())
            .then(pl.lit("split"))
            .otherwise(pl.lit("move")),
        )
        .sort("identifier")
    )
