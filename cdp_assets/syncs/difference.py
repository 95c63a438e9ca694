"""What is wanted against what was last told: the rows that may need a write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw

from cdp_assets.syncs.config import FieldConfig
from cdp_assets.syncs.mapping import want
from cdp_assets.syncs.tables import last

Frame = nw.LazyFrame[Any]


def difference(rows: Frame, fields: Mapping[str, FieldConfig]) -> Frame:
    """The rows whose wanted values are not those that their record was last told.

    rows: `want_<field>`, `last_<field>` String of each field, told Boolean (whether the record was
        ever told anything; null where the sync knows nothing of it), and any others.
    fields: the sync's fields; those written on creation only say nothing here.

    A null says nothing, unless the field is to be cleared: then it differs from a value told, and
    from whatever a record not known yet may hold.
    """
    differs = nw.lit(False)
    for name, field in fields.items():
        if field.write == "on_create":
            continue
        now, before = nw.col(want(name)), nw.col(last(name))
        news = ~now.is_null() & (before.is_null() | (now != before))
        if field.when_null == "clear":
            news = news | (now.is_null() & (~before.is_null() | nw.col("told").is_null()))
        differs = differs | news.fill_null(False)
    return rows.filter(differs)
