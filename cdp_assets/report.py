"""What the command line prints: plans, explanations and tables as lines for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from cdp_assets import identity, syncs
from cdp_assets.deployment.platform import Platform
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.lake import maintenance
from cdp_assets.profiles.errors import nearest
from cdp_assets.profiles.explain import Evidence, ProfileWhy, TraitWhy, explain
from cdp_assets.raw import quarantine
from cdp_assets.raw.tables import FILES

_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


def plan_lines(here: Platform, name: str, plan: syncs.Plan, limit: int) -> Iterator[str]:
    """A plan: its figures, then its first rows, field by field."""
    rows = syncs.summary(plan)
    if plan.changes:
        rows += here.price(name, plan)
    if shared := here.bridged_fields(name):
        rows.append(("kept by HubSpot's own connector too", ", ".join(shared)))
    width = max(len(title) for title, _ in rows)
    for title, text in rows:
        yield f"{title.ljust(width)}  {text}".rstrip()
    shown = plan.rows.head(limit)
    if shown.height:
        yield ""
        columns = ["record", "field", "old", "new", "why"]
        yield from aligned(
            [columns, *([_cell(row[c]) for c in columns] for row in shown.iter_rows(named=True))]
        )
    if plan.rows.height > limit:
        yield f"… and {plan.rows.height - limit:,} more rows: cdp plan {name} --limit N, or --json"


def undo_lines(found: syncs.Undo, limit: int) -> Iterator[str]:
    """What undoing a run would write, and the line that does it."""
    yield f"run {found.run} of {found.sync}"
    yield f"{len(found.changes):,} records go back, {found.left:,} fields are left alone"
    shown = found.rows.sort(pl.col("op") != "undo", maintain_order=True).head(limit)
    if shown.height:
        yield ""
        columns = ["op", "record", "field", "now", "back", "why"]
        yield from aligned(
            [columns, *([_cell(row[c]) for c in columns] for row in shown.iter_rows(named=True))]
        )
    if found.rows.height > limit:
        yield f"… and {found.rows.height - limit:,} more rows: --limit N, or --format csv"
    if found.changes:
        yield ""
        yield f"to do it: cdp undo {found.run[:8]} --sync {found.sync} --approve {found.hash[:12]}"


def rows_as(rows: pl.DataFrame, form: str) -> str:
    """Rows as JSON or CSV, whole."""
    if form == "csv":
        return rows.write_csv().rstrip("\n")
    return json.dumps(rows.to_dicts(), default=str, indent=1)


def aligned(rows: list[list[str]]) -> Iterator[str]:
    """Rows of cells as lines in columns."""
    widths = [min(60, max(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def find(here: Platform, entity: str, who: str) -> int:
    """The one profile that `who` names. Raises ConfigurationError where none or several do."""
    known = here.entities
    if entity not in known:
        raise ConfigurationError.plain(
            f"there is no entity `{entity}`{nearest(entity, known)}; there are: {', '.join(known)}"
        )
    found = identity.lookup(here.lake, entity, who)
    if not found:
        raise ConfigurationError.plain(
            f"no {entity} is known by that; give an e-mail, a user id, a record id or a profile id"
        )
    if len(found) > 1:
        ids = ", ".join(f"profile:{profile}" for profile in found)
        raise ConfigurationError.plain(f"that names several profiles; give one of: {ids}")
    return found[0]


def explain_lines(
    here: Platform, who: str, entity: str, as_of: datetime | None, brief_only: bool
) -> Iterator[str]:
    """A profile, value by value with its origin, and why its identifiers are one."""
    profile_id = find(here, entity, who)
    if brief_only:
        yield brief(here, entity, profile_id)
        return
    why = explain(here.lake, entity, profile_id, as_of=as_of)
    moment = f"{why.as_of:%Y-%m-%d %H:%M} UTC"
    how = "by what was pulled and received until" if as_of else "built at"
    yield f"{entity} {profile_id}, {how} {moment}"
    if why.waiting:
        yield "Newer input waits: the next build may change these values."
    yield ""
    paths = _file_paths(here)
    for trait in why.traits:
        yield from _trait_lines(trait, paths)
    yield ""
    yield "Why these identifiers are one:"
    yield from identity.explain(here.lake, entity, profile_id, as_of=as_of).lines()


def _trait_lines(trait: TraitWhy, paths: Mapping[str, str]) -> Iterator[str]:
    yield f"{trait.trait} = {_shown(trait.value)}    ({trait.rule})"
    if trait.inputs:
        yield "    from " + ", ".join(f"{n} = {_shown(v)}" for n, v in trait.inputs.items())
    chosen = trait.rule.startswith(("prefer", "latest"))
    for row in trait.evidence:
        yield f"    {'✓' if chosen and row.won else '·'} {_evidence(row, paths)}"
    if trait.rows > len(trait.evidence) > 0:
        yield f"      of {trait.rows:,} rows"


def _evidence(row: Evidence, paths: Mapping[str, str]) -> str:
    when = f" at {row.at:%Y-%m-%d %H:%M}" if row.at else ""
    ref = _SHA256.sub(lambda found: found[0][:12], row.ref)
    raw = _SHA256.sub(lambda found: paths.get(found[0], found[0]), row.raw)
    return f"{_shown(row.value)} {row.source} {ref}{when}" + (f"  [{raw}]" if raw else "")


def _file_paths(here: Platform) -> dict[str, str]:
    """SHA-256 of a file that was read → where it lay."""
    rows = here.lake.open(FILES).scan().sort(pl.col("state") == "ingested", "first_seen", "path")
    return dict(rows.select("sha256", "path").collect().iter_rows())


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return "—" if value is None else str(value)


def brief(here: Platform, entity: str, profile_id: int) -> str:
    """A profile in one line: its sources, and how its values were found."""
    why: ProfileWhy = explain(here.lake, entity, profile_id)
    known = {trait.trait: trait for trait in why.traits}
    graph = here.lake.open(identity.GRAPH).scan()
    held = (
        graph.filter((pl.col("entity") == entity) & (pl.col("profile_id") == profile_id))
        .group_by("type")
        .len()
        .sort("type")
        .collect()
    )
    what = ", ".join(f"{count} {kind}" for kind, count in held.iter_rows())
    email = known.get("email")
    won = next((row for row in email.evidence if row.won), None) if email else None
    name = _shown(email.value) if email and email.value else f"profile {profile_id}"
    origin = f"; e-mail from {won.ref}" if won else ""
    return f"{name} (cdp explain profile:{profile_id}): {what}{origin}"


def people_to_show(here: Platform, count: int) -> list[int]:
    """Profiles with the most kinds of identifiers, and one whose link was refused."""
    graph = here.lake.open(identity.GRAPH).scan().filter(pl.col("entity") == "person")
    rich = (
        graph.group_by("profile_id")
        .agg(kinds=pl.col("type").n_unique(), held=pl.len())
        .sort(["kinds", "held", "profile_id"], descending=[True, True, False])
        .head(count)
        .collect()["profile_id"]
        .to_list()
    )
    refused = (
        here.lake.open(identity.LINKS)
        .scan()
        .filter((pl.col("entity") == "person") & (pl.col("state") == "refused"))
        .select("left")
        .head(1)
        .collect()
    )
    if refused.height and rich:
        other = graph.filter(pl.col("identifier") == refused["left"][0]).collect()
        if other.height and other["profile_id"][0] not in rich:
            rich[-1] = other["profile_id"][0]
    return rich


def letter_lines(here: Platform) -> Iterator[str]:
    """Rows that destinations refused and lines in quarantine, counted by reason."""
    refused = (
        syncs.dead_letters(here.store)
        .group_by("sync", "state", "error_class", "code")
        .agg(rows=pl.len(), example=pl.col("message").first())
        .sort("sync", "rows", descending=[False, True])
    )
    waiting = quarantine.open_counts(here.lake)
    if not refused.height and not waiting.height:
        yield "nothing was put aside"
        return
    if refused.height:
        columns = ["sync", "state", "error_class", "code", "rows", "example"]
        rows = [[_cell(row[c]) for c in columns] for row in refused.iter_rows(named=True)]
        yield from aligned([["sync", "state", "class", "code", "rows", "what was said"], *rows])
        yield "To try them again after a fix: cdp replay SYNC"
    if waiting.height:
        if refused.height:
            yield ""
        yield from aligned([waiting.columns, *([_cell(c) for c in r] for r in waiting.iter_rows())])
        yield "To judge them again after a fix: cdp replay events"


def table_lines(here: Platform) -> Iterator[str]:
    """The tables of the lake with rows, files, size and the time of the last commit."""
    overview = maintenance.overview(here.lake)
    if not overview.height:
        yield f"no table yet in {here.settings.lake}"
        return
    rows = [["table", "rows", "files", "MB", "written (UTC)"]]
    for row in overview.iter_rows(named=True):
        size = f"{row['bytes'] / 1e6:.1f}"
        written = f"{row['written']:%Y-%m-%d %H:%M}"
        rows.append([row["key"], f"{row['rows']:,}", str(row["files"]), size, written])
    yield from aligned(rows)
