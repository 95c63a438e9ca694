"""The inputs as a finished build saw them, or as they were known on a past day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from cdp_assets.lake import Lake, OpenTable
from cdp_assets.profiles.inputs import RECORDS_VALUES, TS, Inputs

RECEIVED: Mapping[str, pl.DataType] = {"message_id": pl.String(), "received_at": TS}
OBSERVATION = ["source", "object", "record_id", "field"]


class InputsOfBuild(Inputs):
    """What the last build read: rows up to the watermarks that it left. Rows of a keyed table
    that were written since are absent, as their old state is not kept."""

    def __init__(self, lake: Lake, out: OpenTable) -> None:
        super().__init__(lake, out)

    def pin(self, key: str) -> int:
        mark = self.since(key)
        return mark if mark else super().pin(key)

    def scan(self, key: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        pinned, table = self.pin(key), self.open(key, schema)
        # Who belongs to whom is read as it is now: identity keeps its own history.
        now = key.startswith("identity/")
        return table.scan(upto=None if now else pinned).select(*schema)


class InputsAsOf(Inputs):
    """What had been received by `moment`, read by today's rules and today's identities: events by
    received_at, values of records by extracted_at."""

    def __init__(self, lake: Lake, moment: datetime) -> None:
        super().__init__(lake)
        self.moment = pl.lit(moment).dt.cast_time_unit("us")

    def scan(self, key: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        if key == "records/values":
            return self._values().select(*schema)
        room, _, name = key.partition("/")
        if room == "events" and name != "catalogue":
            wanted = dict(schema) | {"message_id": pl.String()}
            rows = super().scan(key, wanted)
            known = (
                super()
                .scan("events", RECEIVED)
                .filter(pl.col("received_at") <= self.moment)
                .select("message_id")
                .unique()
            )
            return rows.join(known, on="message_id", how="semi").select(*schema)
        if room == "records" and name not in ("relation", "told"):
            wanted = dict(schema) | {"extracted_at": TS, "deleted": pl.Boolean()}
            # A deletion seen only later had not happened yet.
            seen = pl.col("extracted_at") <= self.moment
            return super().scan(key, wanted).with_columns(pl.col("deleted") & seen).select(*schema)
        if room == "sessions":
            # Of visits only the moment is known, not when their events were received.
            moment = "timestamp" if name == "page_views" else "started_at"
            rows = super().scan(key, dict(schema) | {moment: TS})
            return rows.filter(pl.col(moment) <= self.moment).select(*schema)
        return super().scan(key, schema)

    def _values(self) -> pl.LazyFrame:
        """records/values with `current` as it stood then."""
        known = (
            super()
            .scan("records/values", RECORDS_VALUES)
            .filter(pl.col("extracted_at") <= self.moment)
        )
        last = known.group_by(OBSERVATION).agg(pl.col("changed_at").max().alias("last"))
        gone = (
            super()
            .scan("records/values", RECORDS_VALUES)
            .group_by("record")
            .agg(pl.col("current").any().alias("live"))
            .filter(~pl.col("live"))
        )
        deleted = self._deleted_by_then().join(gone, on="record", how="semi")
        return (
            known.join(last, on=OBSERVATION, how="inner")
            .with_columns((pl.col("changed_at") == pl.col("last")).alias("current"))
            .join(deleted.with_columns(pl.lit(True).alias("gone")), on="record", how="left")
            .with_columns(pl.col("current") & pl.col("gone").is_null())
        )

    def _deleted_by_then(self) -> pl.LazyFrame:
        """Records whose deletion had been seen by then."""
        schema = {"record": pl.String(), "deleted": pl.Boolean(), "extracted_at": TS}
        keys = {"source": pl.String(), "object": pl.String(), "record_id": pl.String()}
        tables = [
            key
            for key in self.lake.keys()  # noqa: SIM118  not a mapping
            if key.startswith("records/")
            and key.split("/")[1] not in ("values", "relation", "told")
        ]
        frames = [
            super(InputsAsOf, self)
            .scan(key, keys | schema)
            .filter(pl.col("deleted") & (pl.col("extracted_at") <= self.moment))
            .select("record")
            for key in tables
        ]
        return pl.concat(frames) if frames else pl.LazyFrame(schema={"record": pl.String()})
