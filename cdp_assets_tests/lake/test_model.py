"""Any order of writes and upkeep against a dict: the table, and a copy fed by its changes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cdp_assets.lake import Lake, Table
from cdp_assets.lake.maintenance import checkpoint, compact, vacuum

SCHEMA = {
    "group": pl.String,
    "id": pl.Int64,
    "value": pl.String,
    "parts": pl.List(pl.Struct({"x": pl.Int64})),
}
KEY = ("group", "id")
groups = st.sampled_from(["a", "b", "c"])
contents = st.tuples(
    st.sampled_from([None, "", "x", "y"]),
    st.sampled_from([None, [], [{"x": None}], [{"x": 1}, None]]),
)
batches = st.dictionaries(st.tuples(groups, st.integers(0, 5)), contents, max_size=6)
Row = tuple[str, int]


def frame(batch: dict[Row, tuple[object, object]]) -> pl.DataFrame:
    return pl.DataFrame([(*k, *v) for k, v in batch.items()], schema=SCHEMA, orient="row")


class Keyed(RuleBasedStateMachine):
    """A keyed table, partitioned and not; its model: key → content."""

    @initialize(partitioned=st.booleans())
    def begin(self, partitioned: bool) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.lake = Lake(self.root)
        table = Table(
            key="t",
            schema=SCHEMA,
            primary_key=KEY,
            partition_by=("group",) if partitioned else (),
            personal=("value",),
        )
        self.table = self.lake.open(table)
        self.model: dict[Row, tuple[object, object]] = {}
        self.copy: dict[Row, tuple[object, object]] = {}
        self.read = 0
        self.news: set[Row] = set()
        self.mark = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def expect(self, after: dict[Row, tuple[object, object]]) -> tuple[int, int, int]:
        before = self.model
        inserted = after.keys() - before.keys()
        deleted = before.keys() - after.keys()
        updated = {k for k in after.keys() & before.keys() if after[k] != before[k]}
        self.news |= inserted | deleted | updated
        self.model = after
        return len(inserted), len(updated), len(deleted)

    @rule(batch=batches, marked=st.booleans())
    def merge(self, batch: dict[Row, tuple[object, object]], marked: bool) -> None:
        self.mark += marked
        done = self.table.merge(frame(batch), watermarks={"in": self.mark} if marked else {})
        wanted = self.expect(self.model | batch)
        assert (done.inserted, done.updated, done.deleted) == wanted
        assert done.unchanged == len(batch) - wanted[0] - wanted[1]

    @rule(batch=batches, scope=st.sets(groups, min_size=1))
    def replace(self, batch: dict[Row, tuple[object, object]], scope: set[str]) -> None:
        batch = {k: v for k, v in batch.items() if k[0] in scope}
        done = self.table.replace(frame(batch), scope=pl.DataFrame({"group": sorted(scope)}))
        rest = {k: v for k, v in self.model.items() if k[0] not in scope}
        assert (done.inserted, done.updated, done.deleted) == self.expect(rest | batch)

    @rule(keys=st.sets(st.tuples(groups, st.integers(0, 5)), max_size=5))
    def delete(self, keys: set[Row]) -> None:
        done = self.table.delete(
            pl.DataFrame(sorted(keys), schema={n: SCHEMA[n] for n in KEY}, orient="row")
        )
        wanted = self.expect({k: v for k, v in self.model.items() if k not in keys})
        assert (done.inserted, done.updated, done.deleted) == wanted

    @rule(full=st.booleans())
    def upkeep(self, full: bool) -> None:
        compact(self.lake, "t")
        if full:
            vacuum(self.lake, "t", keep_hours=0)
            checkpoint(self.lake, "t")

    @rule()
    def follow(self) -> None:
        seq = self.table.seq()
        feed = self.table.changes(self.read, upto=seq).collect()
        keys = {(row["group"], row["id"]) for row in feed.iter_rows(named=True)}
        assert keys == self.news
        assert len(keys) == feed.height
        for row in feed.iter_rows(named=True):
            if row["deleted_at"] is None:
                self.copy[row["group"], row["id"]] = (row["value"], row["parts"])
            else:
                self.copy.pop((row["group"], row["id"]), None)
        assert self.copy == self.model
        self.read, self.news = seq, set()

    @invariant()
    def equal(self) -> None:
        if hasattr(self, "table"):
            rows = self.table.scan().collect()
            got = {(r["group"], r["id"]): (r["value"], r["parts"]) for r in rows.to_dicts()}
            assert got == self.model
            assert rows.height == len(got)
            assert self.table.watermark("in") == self.mark


class Appended(RuleBasedStateMachine):
    """A table without key; its model: a list of (value, group, seq)."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.lake = Lake(self.root)
        self.table = self.lake.open(
            Table(
                key="t",
                schema={"value": pl.Int64, "group": pl.String},
                partition_by=("group",),
            )
        )
        self.model: list[tuple[int, str, int]] = []
        self.seq = 0
        self.mark = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @rule(values=st.lists(st.tuples(st.integers(0, 9), groups), min_size=1, max_size=5))
    def append(self, values: list[tuple[int, str]]) -> None:
        self.mark += 1
        for _ in range(2):  # the second is the retry of a process that never heard the answer
            rows = pl.DataFrame(values, schema=["value", "group"], orient="row")
            self.table.append(rows, watermarks={"in": self.mark})
        self.seq += 1
        self.model += [(*value, self.seq) for value in values]

    @rule(back=st.integers(0, 3))
    def truncate(self, back: int) -> None:
        self.table.truncate(max(0, self.seq - back))
        self.model = [row for row in self.model if row[2] <= self.seq - back]

    @rule(group=groups, values=st.lists(st.integers(0, 9), max_size=4))
    def replace(self, group: str, values: list[int]) -> None:
        rows = pl.DataFrame({"value": values, "group": [group] * len(values)}, schema_overrides={
            "value": pl.Int64, "group": pl.String})  # fmt: skip
        self.table.replace(rows, scope=pl.DataFrame({"group": [group]}))
        if sorted(values) != sorted(v for v, g, _ in self.model if g == group):
            self.seq += bool(values)
            self.model = [row for row in self.model if row[1] != group]
            self.model += [(value, group, self.seq) for value in values]

    @rule(full=st.booleans())
    def upkeep(self, full: bool) -> None:
        compact(self.lake, "t")
        if full:
            vacuum(self.lake, "t", keep_hours=0)
            checkpoint(self.lake, "t")

    @invariant()
    def equal(self) -> None:
        if hasattr(self, "table"):
            assert sorted(self.table.scan().collect().rows()) == sorted(self.model)
            assert self.table.seq() == self.seq
            middle = self.seq // 2
            feed = self.table.changes(middle).drop("deleted_at").collect().rows()
            assert sorted(feed) == sorted(row for row in self.model if row[2] > middle)


budget = settings(max_examples=12, stateful_step_count=15, deadline=None)
TestKeyed = Keyed.TestCase
TestKeyed.settings = budget
TestAppended = Appended.TestCase
TestAppended.settings = budget
