"""Enrichment at ingest: columns and flags that libraries and lists know of an event.

Each kind is asked for by the source (`enrich: [user_agent, bots]`), each is worked out once per
distinct value, and column `enriched` names what was used with its version. What was not asked for
is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from cdp_assets.events.enrich import agents, currency, places, referrers
from cdp_assets.events.enrich.kinds import (
    BOT,
    COLUMNS,
    UNKNOWN_CURRENCY,
    EnrichError,
    Kind,
    version_of,
)

__all__ = ["BOT", "COLUMNS", "EnrichError", "Enrichments", "Kind"]

_FLAGS: Final[Mapping[str, str]] = {"bots": BOT, "currency": UNKNOWN_CURRENCY}


@dataclass(frozen=True)
class Enrichments:
    """What is added to the events of each source.

    kinds: source → what it asks for. database: the file of places, in MaxMind's format.
    """

    kinds: Mapping[str, Sequence[Kind]] = field(default_factory=dict)
    database: Path | None = None

    def __bool__(self) -> bool:
        return any(self.kinds.values())

    def require(self) -> None:
        """Raise EnrichError where a library or the file that is asked for is missing."""
        for kinds in self.kinds.values():
            for kind in kinds:
                self.version(kind)

    def version(self, kind: Kind) -> str:
        """What a kind is worked out with. Raises EnrichError where that is missing."""
        if kind != "place":
            return version_of(kind)
        return places.version(places.opened(self.database))

    @cached_property
    def versions(self) -> dict[Kind, str]:
        """kind → what it is worked out with, of those that any source asks for."""
        asked = {kind for kinds in self.kinds.values() for kind in kinds}
        return {kind: self.version(kind) for kind in sorted(asked)}

    def add(self, events: pl.DataFrame) -> pl.DataFrame:
        """The same events with COLUMNS and flags, in their order.

        events: the columns of table `events`. Raises EnrichError.
        """
        present = events["source"].unique().to_list()
        asking = {s: [*dict.fromkeys(self.kinds.get(s, ()))] for s in present}
        asked = [kind for kind in self.versions if any(kind in k for k in asking.values())]
        if not asked:
            return events
        for kind in asked:
            of = [source for source in present if kind in asking[source]]
            if len(of) == len(present):
                events = self._with(events, kind)
                continue
            mine = events["source"].is_in(of)
            part = self._with(events.filter(mine), kind)
            at = pl.concat([mine.arg_true(), (~mine).arg_true()]).arg_sort()
            events = pl.concat([part, events.filter(~mine)])[at]
        named = {
            s: ", ".join(f"{k}: {self.versions[k]}" for k in sorted(asking[s])) for s in present
        }
        text = events["source"].replace_strict(
            list(named), [name or None for name in named.values()], return_dtype=pl.String
        )
        return events.with_columns(text.alias("enriched"))

    def _with(self, events: pl.DataFrame, kind: Kind) -> pl.DataFrame:
        work: Mapping[Kind, Callable[[pl.DataFrame], pl.DataFrame]] = {
            "user_agent": agents.described,
            "bots": agents.bots,
            "place": lambda rows: places.located(rows, places.opened(self.database)),
            "referrer": referrers.classed,
            "currency": currency.checked,
        }
        found = work[kind](events)
        flag = _FLAGS.get(kind)
        if flag is None:
            return events.with_columns(found.get_columns())
        marked = found[flag]
        columns = found.drop(flag).get_columns()
        if marked.any():
            flags = pl.when(marked).then(pl.concat_list("flags", pl.lit([flag]))).otherwise("flags")
            columns.append(events.select(flags.alias("flags"))["flags"])
        return events.with_columns(columns)
