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

    rows: `want_<field>`, `last_<field>` String of each field, and any others.
    fields: the sync's fields; those written on creation only say nothing here.

    A null says nothing. A field to be emptied wants the empty text: it differs from a value told,
    and from whatever a record may hold of which no word is kept.
    """
    differs = nw.lit(False)
    for name, field in fields.items():
        if field.write == "on_create":
            continue
        now, before = nw.col(want(name)), nw.col(last(name))
        news = ~now.is_null() & (before.is_null() | (now != before))
        differs = differs | news.fill_null(False)
    return rows.filter(differs)
