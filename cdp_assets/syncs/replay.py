"""Rows that a destination refused: shown, and let go again."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from cdp_assets.store import Store, letters


def dead_letters(store: Store, name: str | None = None) -> pl.DataFrame:
    """Rows that wait, oldest first: id, sync, profile_id, target, op, error_class, code, message
    (without values), attempts, first_at, last_at, state."""
    return letters.frame(store, name).drop("digest")


def replay(store: Store, name: str, ids: Collection[int] | None = None) -> int:
    """Let the next plan of the sync try refused rows again, with the day's values; how many.

    ids: letters; None for all of the sync. Rows refused for a passing reason, and rows whose
    value has changed since, are tried again without this. Approval and `stop_if` hold as ever.
    """
    return letters.release(store, name, ids)
