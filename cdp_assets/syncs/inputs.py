"""Reads what a plan is made from: profiles, the identity graph, the sync's own state."""

from __future__ import annotations

from datetime import datetime

from cdp_assets.lake import Lake
from cdp_assets.store import Store
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Inputs


def gather(lake: Lake, store: Store, name: str, config: SyncConfig, now: datetime) -> Inputs:
    """Everything that a plan of this sync reads."""
    raise NotImplementedError
