"""How often a sync runs: the durations that a cron line comes back to evenly."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from cdp_assets.connectors.config import Duration

_MINUTES = tuple(n for n in range(1, 60) if 60 % n == 0)
_HOURS = tuple(n for n in range(1, 24) if 24 % n == 0)
_EVEN = {timedelta(days=1)}
_EVEN |= {timedelta(minutes=n) for n in _MINUTES} | {timedelta(hours=n) for n in _HOURS}


def _evenly(every: timedelta) -> timedelta:
    """A cron line starts anew each hour and each day, so only their even parts come evenly."""
    if every not in _EVEN:
        raise ValueError(
            f"a sync runs every {', '.join(f'{n}m' for n in _MINUTES)}, "
            f"{', '.join(f'{n}h' for n in _HOURS)} or 1d: other durations do not part an hour or "
            "a day evenly"
        )
    return every


Every = Annotated[Duration, AfterValidator(_evenly)]
