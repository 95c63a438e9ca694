"""Membership over time: evaluated over all profiles at each build, written where it moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import narwhals as nw
import polars as pl

from cdp_assets.audiences.config import AudienceConfig
from cdp_assets.audiences.membership import entered, holding, left
from cdp_assets.audiences.read import audience_table, with_memberships
from cdp_assets.lake import Lake
from cdp_assets.profiles.errors import TraitError
from cdp_assets.profiles.expressions import Context, Expression, parse
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.read import columns, evaluated
from cdp_assets.settings import crash_point

KEY = "profile_id"


@dataclass(frozen=True)
class AudienceResult:
    """What a build of an audience did: its members now, and who came and went."""

    name: str
    members: int
    entered: int = 0
    left: int = 0


def condition(
    config: AudienceConfig, known: Mapping[str, Kind], audiences: Iterable[str]
) -> Expression:
    """The audience's condition over `known` columns; in_audience may name one of `audiences`
    (`*` among them: any). Raises ExpressionError."""
    return parse(config.where, Context(known, audiences=frozenset(audiences)), want=Kind.BOOLEAN)


class _AnyColumn(dict[str, Kind]):
    """Every name is a column whose type is open: enough to see which audiences are named."""

    def get(self, name: str, default: object = None) -> Kind:
        return Kind.UNTYPED


def order(configs: Mapping[str, AudienceConfig]) -> list[str]:
    """The names of `configs` in an order in which each audience follows those it names.

    Raises TraitError for audiences that name each other, ExpressionError for one that names an
    unknown one.
    """
    done: list[str] = []
    stack: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in stack:
            chain = " → ".join([*stack[stack.index(name) :], name])
            raise TraitError(f"audiences need each other: {chain}")
        stack.append(name)
        for other in sorted(named(configs[name], configs)):
            if configs[other].entity != configs[name].entity:
                raise TraitError(
                    f"audience {name} is of {configs[name].entity}, {other} of "
                    f"{configs[other].entity}: in_audience stays within one entity"
                )
            visit(other)
        stack.pop()
        done.append(name)

    for name in configs:
        visit(name)
    return done


def named(config: AudienceConfig, audiences: Iterable[str] = ("*",)) -> frozenset[str]:
    """The audiences that a condition names."""
    context = Context(_AnyColumn(), open=True, audiences=frozenset(audiences))
    return parse(config.where, context).audiences


def build(lake: Lake, name: str, config: AudienceConfig, now: datetime) -> AudienceResult:
    """Bring audiences/<name> up to the profiles as of `now`.

    A profile for which the condition came to hold enters at `now`; one for which it holds no
    more, or that is no more, leaves at `now`. Where nobody came or went, nothing is written.

    Raises ExpressionError where the condition names an unknown trait or audience, TraitError
    where the profiles were never built.
    """
    table = lake.open(audience_table(name))
    with lake.step(f"audiences/{name}"):
        where = condition(config, columns(lake, config.entity), ["*"])
        profiles = with_memberships(lake, evaluated(lake, config.entity, now), where.audiences)
        members = nw.to_native(holding(nw.from_native(profiles), where.to_narwhals(now))).collect(
            engine="streaming"
        )
        standing = table.scan().filter(pl.col("left_at").is_null()).select(KEY, "entered_at")
        before = nw.from_native(standing)
        present = nw.from_native(members.lazy())
        came = nw.to_native(entered(before, present)).collect()
        went = nw.to_native(left(before, present)).collect()
        moment = pl.lit(now).dt.cast_time_unit("us").dt.convert_time_zone("UTC")
        rows = pl.concat(
            [
                came.select(
                    KEY,
                    moment.alias("entered_at"),
                    pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("left_at"),
                ),
                went.select(KEY, "entered_at", moment.alias("left_at")),
            ]
        )
        crash_point("audience:before-commit")
        if rows.height or not table.exists():
            table.merge(rows, watermarks=None if rows.height else {"build": 1})
    return AudienceResult(name, members.height, came.height, went.height)
