"""What is wanted against what was last told: the rows that may need a write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw

from cdp_assets.syncs.config import FieldConfig
from cdp_assets.syncs.mapping import want
from cdp_assets.syncs.tables import last

Frame = nw.LazyFrame[Any]


def difference(rows: Frame, state: Frame, fields: Mapping[str, FieldConfig]) -> Frame:
    """The rows whose wanted values are not those that their record was last told.

    rows: profile_id Int64, record, object String, count Int64, `want_<field>` String.
    state: record String, told Boolean (whether it was ever told anything), `last_<field>` String.
    fields: the sync's fields; those written on creation only say nothing here.

    Returns profile_id, record, object, count, told (null where the state has no such record). A
    null says nothing, unless the field is to be cleared: then it differs from a value told, and
    from whatever a record not told yet may hold.
    """
    compared = {name: f for name, f in fields.items() if f.write != "on_create"}
    if not compared:
        return (
            rows.select("profile_id", "record", "object", "count")
            .with_columns(told=nw.lit(None).cast(nw.Boolean))
            .filter(nw.lit(False))
        )
    joined = rows.join(
        state.select("record", "told", *(last(n) for n in compared)), on="record", how="left"
    )
    differs = nw.lit(False)
    for name, field in compared.items():
        now, before = nw.col(want(name)), nw.col(last(name))
        news = ~now.is_null() & (before.is_null() | (now != before))
        if field.when_null == "clear":
            news = news | (now.is_null() & (~before.is_null() | nw.col("told").is_null()))
        differs = differs | news.fill_null(False)
    return joined.filter(differs).select("profile_id", "record", "object", "count", "told")
