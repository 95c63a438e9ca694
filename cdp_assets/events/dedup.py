"""Which events of a batch are new. The key is (source, message id, visitor, original time)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from cdp_assets.lake import OpenTable

KEY = ("source", "message_id", "visitor", "original_at")
_NAME = ("source", "message_id", "visitor")
"""What two events share that are the same or reuse one message id."""

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


@dataclass(frozen=True)
class Judged:
    """new: the rows to store, in the order given. duplicates: how many are stored already or
    stand earlier in the batch. reused_id: how many of the new ones bear the message id and
    visitor of another event at another original time (looked for in the days of the batch)."""

    new: pl.DataFrame
    duplicates: int
    reused_id: int


class Seen:
    """The keys of the stored events of those days that a run touches, 8 bytes an event.

    Hashes find candidates; whether a candidate is a duplicate is decided on the stored keys
    themselves, so a collision costs time, never an event. The hash is polars' own and lives no
    longer than the run.
    """

    def __init__(self, events: OpenTable) -> None:
        self._events = events
        self._days: set[date] = set()
        self._timeless = False
        self._sorted: list[Hashes] = []

    def judge(self, batch: pl.DataFrame) -> Judged:
        """Split a batch (the columns of table `events`) into new and known.

        A resend carries the same original time, so it lies in the same event_day; an event
        without one is sought over all days. Of two with the same key the first stays.
        """
        self._load(batch)
        hashes = _hashes(batch)
        ordered = np.sort(hashes)
        twice, known = ordered[1:][ordered[1:] == ordered[:-1]], self._known(ordered)
        if not len(twice) and not len(known):
            return Judged(batch, 0, 0)
        doubtful = np.isin(hashes, np.concatenate([twice, known]))
        keys = batch.select(*KEY, "event_day").with_columns(
            pl.Series("doubtful", doubtful), pl.int_range(pl.len()).alias("at")
        )
        asked = keys.filter("doubtful")
        stored = self._stored(asked) if len(known) else asked.select(KEY).clear()
        fresh = asked.unique(subset=KEY, keep="first", maintain_order=True)
        fresh = fresh.join(stored, on=KEY, how="anti", nulls_equal=True, maintain_order="left")
        others = pl.concat([stored, fresh.select(KEY)]).unique()
        times = others.group_by(_NAME).len("times")
        reused = fresh.join(times.filter(pl.col("times") > 1), on=_NAME, how="semi")
        # the first of a name in the batch is the event, the later ones are the reuse
        first = reused.join(stored, on=_NAME, how="anti").unique(subset=_NAME)
        keep = pl.concat([keys.filter(~pl.col("doubtful")), fresh])["at"].sort()
        return Judged(batch[keep], len(batch) - len(keep), len(reused) - len(first))

    def add(self, stored: pl.DataFrame) -> None:
        """Know these events too: they are stored now."""
        self._push(np.sort(_hashes(stored)))

    def _load(self, batch: pl.DataFrame) -> None:
        if not self._events.exists():
            return
        days = set(batch["event_day"].unique().to_list()) - self._days
        timeless = bool(batch["original_at"].is_null().any()) and not self._timeless
        wanted = pl.lit(False)
        if days:
            wanted = wanted | pl.col("event_day").is_in(sorted(days))
        if timeless:
            wanted = wanted | pl.col("original_at").is_null()
        if days or timeless:
            found = self._events.scan().filter(wanted).select(KEY).collect()
            self._push(np.sort(_hashes(found)))
        self._days |= days
        self._timeless |= timeless

    def _stored(self, asked: pl.DataFrame) -> pl.DataFrame:
        """Stored keys that share source, message id and visitor with one of these."""
        days = asked["event_day"].unique().sort().to_list()
        wanted = pl.col("event_day").is_in(days)
        if asked["original_at"].is_null().any():
            wanted = wanted | pl.col("original_at").is_null()
        found = self._events.scan().filter(wanted).select(KEY)
        return found.join(asked.select(_NAME).unique().lazy(), on=_NAME, how="semi").collect()

    def _known(self, ordered: Hashes) -> Hashes:
        """Those of these hashes (sorted, which keeps the search in the cache) that are stored."""
        known = np.zeros(len(ordered), dtype=np.bool_)
        for run in self._sorted:
            at = np.searchsorted(run, ordered)
            at[at == len(run)] = 0
            known |= run[at] == ordered
        return ordered[known]

    def _push(self, run: Hashes) -> None:
        if not len(run):
            return
        # runs double in size, so that a key is merged a logarithm of times
        while self._sorted and len(self._sorted[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._sorted.pop(), run]), kind="stable")
        self._sorted.append(run)


def _hashes(keys: pl.DataFrame) -> Hashes:
    return keys.select(_NAME).hash_rows(1).to_numpy()
