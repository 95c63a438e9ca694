"""Heartbeats: what says that a page is still open, and neither opens a session nor prolongs it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from cdp_assets.sessions.cut import Cut, Ints, Ordered, Rules

MIN_VISIT = 5
"""Seconds that Snowplow's model grants the page view itself."""


class Heartbeats:
    """Heartbeats on the sessions and page views that they belong to: those that come no later than
    the timeout after the device's last interaction.

    until: of each session its last heartbeat, or -1. page_until, engaged: of each page view its
    last heartbeat (or -1), and engaged seconds.
    """

    def __init__(
        self, cut: Cut, all_of: Ordered, told: npt.NDArray[np.float64], rules: Rules
    ) -> None:
        """told: of each event the seconds in which its page was looked at; NaN for none."""
        beat = all_of.beat
        self.until = np.full(len(cut.start), -1, dtype=np.int64)
        self.page_until = np.full(len(cut.pages), -1, dtype=np.int64)
        self.engaged = np.zeros(len(cut.pages), dtype=np.int64)
        self.unplaced = 0
        if not beat.any():
            return
        last = (np.cumsum(~beat) - 1)[beat]
        when, whose, told = all_of.moment[beat], all_of.device[beat], told[all_of.rows[beat]]
        held = last >= 0
        last = np.maximum(last, 0)
        held &= (cut.device[last] == whose) & (when - cut.moment[last] <= rules.timeout)
        self.unplaced = int((~held).sum())
        last, when, told = last[held], when[held], told[held]
        visit = cut.of[last]
        np.maximum.at(self.until, visit, when)
        if not len(cut.pages):
            return
        page = np.searchsorted(cut.pages, last, side="right") - 1
        on = (page >= 0) & (cut.pages[np.maximum(page, 0)] >= cut.start[visit])
        page, when, told = page[on], when[on], told[on]
        np.maximum.at(self.page_until, page, when)
        tells = ~np.isnan(told)
        seconds = np.zeros(len(cut.pages))
        np.add.at(seconds, page[tells], np.maximum(told[tells], 0))
        self.engaged[:] = np.rint(seconds)
        self._count_pings(page[~tells], when[~tells], rules)

    def _count_pings(self, page: Ints, when: Ints, rules: Rules) -> None:
        """Add the seconds that pings tell, as Snowplow's model counts them."""
        stretches = (
            pl.DataFrame({"page": page, "stretch": when // rules.heartbeat})
            .group_by("page")
            .agg(pl.col("stretch").n_unique())
        )
        seconds = rules.heartbeat // 1_000_000
        self.engaged[stretches["page"].to_numpy()] += (
            seconds * (stretches["stretch"].cast(pl.Int64).to_numpy() - 1) + MIN_VISIT
        )
