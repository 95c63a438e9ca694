"""Calendar arithmetic in whole numbers, which every engine has."""

from __future__ import annotations

import narwhals as nw


def floored(value: nw.Expr, divisor: int) -> nw.Expr:
    """Whole quotient of whole numbers, downwards; the half keeps rounding errors from counting."""
    return ((value.cast(nw.Float64) + 0.5) * (1.0 / divisor)).floor().cast(nw.Int64)


def epoch_seconds(when: nw.Expr) -> nw.Expr:
    """Whole seconds since 1970 of a moment, by calendar arithmetic that every engine has."""
    year = when.dt.year().cast(nw.Int64)
    before = year - 1

    leaps = floored(before, 4) - floored(before, 100) + floored(before, 400)
    days = before * 365 + leaps + when.dt.ordinal_day().cast(nw.Int64)
    clock = (
        when.dt.hour().cast(nw.Int64) * 3600
        + when.dt.minute().cast(nw.Int64) * 60
        + when.dt.second().cast(nw.Int64)
    )
    return (days - 719163) * 86400 + clock
