"""Members of a list in an outside system: planned, sent and read back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

import narwhals as nw
import polars as pl

from cdp_assets.connectors.base import (
    Destination,
    ListDestination,
    Refused,
    RowOutcome,
    Unavailable,
    UnknownOutcome,
)
from cdp_assets.store import ledger
from cdp_assets.syncs import gone, mapping, planner, targets
from cdp_assets.syncs.check import SyncError
from cdp_assets.syncs.config import NEVER, SyncConfig
from cdp_assets.syncs.model import Change, Inputs, Obstacle, Op, Plan, record_id, ref
from cdp_assets.syncs.rows import plan_hash, plan_rows
from cdp_assets.syncs.tables import TS, state_table

LIST = "(list)"
"""What stands for the key's field in the ledger's rows of a list: no field has this name."""
NOBODY = 0
"""Whose row it is that belongs to no profile: the list itself, and members that nobody is."""


def list_destination(destination: Destination, config: SyncConfig) -> ListDestination:
    """The destination as one that keeps lists. Raises SyncError where it keeps none."""
    if not hasattr(destination, "change_members"):
        raise SyncError(f"{config.source} keeps no lists that could be filled")
    return cast(ListDestination, destination)


def list_plan(
    name: str, config: SyncConfig, inputs: Inputs, destination: Destination, now: datetime
) -> Plan:
    """What the sync `name` would change about the members of its list.

    A record is put on the list, or taken off, once: who is taken off by hand stays off, and who
    was there before, or was put there by hand, stays there, unless `others` is remove. The list
    itself is read only where somebody is to be put on it, or all of it counts.
    """
    made = _ListPlan(config, inputs, list_destination(destination, config))
    made.make()
    rows = plan_rows(config, made.changes, made.obstacles)
    digest = plan_hash(name, config, rows)
    return Plan(
        sync=name,
        hash=digest,
        config=config.fingerprint,
        made_at=now,
        rows=rows.select(pl.lit(digest).alias("plan"), pl.all()),
        changes=tuple(made.changes),
        obstacles=tuple(made.obstacles),
        stopped=tuple(made.stopped or made.brakes()),
        profiles=made.profiles,
        told=made.on,
        without_record=made.without,
        checked=made.checked(now),
        standing=inputs.timeless and not made.asked,
    )


@dataclass
class _ListPlan:
    config: SyncConfig
    inputs: Inputs
    lists: ListDestination
    changes: list[Change] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    there: list[tuple[int, str, str, str | None, str | None]] = field(default_factory=list)
    asked: bool = False
    profiles: int = 0
    without: int = 0
    on: int = 0
    list_id: str | None = None
    _inside: set[int] = field(default_factory=set)

    def make(self) -> None:
        config = self.config
        source = self.inputs.profiles.select("profile_id").unique().collect()
        self.profiles = source.height
        self._inside = set(source["profile_id"])
        if not self._find_list():
            return
        mine = self._records()
        self.on = mine.filter(self._here).height
        wanted = self._chosen(mine).join(source, on="profile_id", how="semi")
        self.without = self.profiles - wanted["profile_id"].n_unique()
        refused = wanted.filter((pl.col("count") > 1) & (config.several == "skip"))
        for row in refused.iter_rows(named=True):
            why = f"the profile has {row['count']} records there, and `several` is skip"
            self.obstacles.append(_obstacle(row, why))
        wanted = wanted.join(refused, on="record", how="anti")
        if config.mode == "remove":
            self._take_off(wanted)
        else:
            self._put_on(wanted)
            if config.mode == "mirror":
                kept = pl.concat([f.select("record", "object") for f in (wanted, refused)])
                self._take_others_off(mine.join(kept, on="record", how="anti"), kept)
        self._hold_refused()

    def _find_list(self) -> bool:
        """Whether the plan may go on: the list is there, or may be made."""
        config, name = self.config, self.config.list_
        assert name is not None
        try:
            self.list_id = self.lists.list_id(name)
        except Refused as refused:
            self.stopped.append(str(refused))
            return False
        object_name = config.objects[0]
        itself = pl.col("object") == object_name
        known = self.inputs.state.filter(itself & (pl.col("put") == name)).collect()
        if self.list_id is not None:
            if self.list_id not in {record_id(r) for r in known["record"]}:
                self._note(NOBODY, ref(config.source, object_name, self.list_id), None, name)
            return True
        if known.height:
            self.stopped.append(
                f"the list {name!r} is gone or renamed in {config.source}, and never made again: "
                "restore it, make one of that name there, or name another in `list`"
            )
            return False
        if config.create == NEVER:
            self.stopped.append(
                f"{config.source} has no list {name!r}: make it there, or let the sync make it by "
                f"`create: {config.targets[0]}`"
            )
            return False
        if self.profiles and config.mode != "remove":
            self.changes.append(self._creation(object_name, name))
        return True

    def _creation(self, object_name: str, name: str) -> Change:
        return Change(
            profile_id=NOBODY,
            object=object_name,
            record_id=None,
            op="create",
            key_field=LIST,
            key_value=name,
            sent={},
            told={},
            asked={},
            old={},
            why={"list": "there is no list of this name"},
            notes={"put": name},
            digest=mapping.digest(self.config.fingerprint, "create", {LIST: name}),
        )

    def _records(self) -> pl.DataFrame:
        """The live records that could be members: profile_id, record, object, age, list, put."""
        state = self.inputs.state
        told = pl.col("told_at").is_not_null()
        age = pl.coalesce("told_at", "checked_at").cast(pl.Int64)
        # What the sync wrote before it kept a list is no member of it.
        member = pl.col("list").is_not_null() & (pl.col("object") != self.config.objects[0])
        mine = state.filter(member).select(
            "record", "object", "profile_id", "list", "put", age=age, told=told
        )
        found: pl.LazyFrame = nw.to_native(
            targets.holdings(
                nw.from_native(self.inputs.links),
                nw.from_native(mine),
                nw.from_native(self.inputs.redirects),
            )
        )
        objects = [name.partition(".")[2] for name in self.config.members]
        return found.filter(pl.col("object").is_in(objects) if objects else pl.lit(True)).collect()

    def _chosen(self, mine: pl.DataFrame) -> pl.DataFrame:
        ranks = {name: place for place, name in enumerate(self._objects(mine))}
        chosen = targets.choose(nw.from_native(mine.lazy()), ranks, self.config.several)
        found: pl.LazyFrame = nw.to_native(chosen)
        return found.collect()

    def _objects(self, mine: pl.DataFrame) -> list[str]:
        """Whose records may be members, first choice first."""
        named = [name.partition(".")[2] for name in self.config.members]
        return named or sorted(mine["object"].drop_nulls().unique()) or [self.config.objects[0]]

    def _members(self) -> set[str]:
        self.asked = True
        if self.list_id is None:
            return set()
        return {i for page in self.lists.list_members(self.list_id) for i in page}

    def _put_on(self, wanted: pl.DataFrame) -> None:
        all_of_it = self.config.others == "remove"
        news = wanted if all_of_it else wanted.filter(~self._here)
        if news.is_empty():
            return
        members = self._members()
        for row in news.iter_rows(named=True):
            if record_id(row["record"]) not in members:
                self._change(row, "add", f"in {self.config.from_}")
            elif row["list"] != self.list_id:
                # It was there before us: noted as on the list, and not as ours.
                self._note(row["profile_id"], row["record"], self.list_id, None)

    def _take_off(self, wanted: pl.DataFrame) -> None:
        if self.list_id is None or wanted.is_empty():
            return
        members = self._members()
        for row in wanted.iter_rows(named=True):
            if record_id(row["record"]) in members:
                self._change(row, "remove", f"in {self.config.from_}")

    def _take_others_off(self, rest: pl.DataFrame, kept: pl.DataFrame) -> None:
        """Who is on the list and should not be: those that this sync put there, or all."""
        if self.list_id is None:
            return
        if self.config.others == "keep":
            ours = (pl.col("put") == self.list_id).fill_null(value=False)
            for row in rest.filter(ours & self._here).iter_rows(named=True):
                self._change(row, "remove", self._why_off(row["profile_id"]), left=True)
            return
        known = {record_id(row["record"]): row for row in rest.iter_rows(named=True)}
        wished = {record_id(record) for record in kept["record"]}
        members = self._members()
        self.on = max(self.on, len(members))
        object_name = self._objects(pl.concat([rest, kept], how="diagonal"))[0]
        for member in sorted(members - wished):
            stranger = ref(self.config.source, object_name, member)
            row = known.get(
                member,
                {"profile_id": NOBODY, "record": stranger, "object": object_name, "put": None},
            )
            ours = row["put"] == self.list_id
            why = self._why_off(row["profile_id"]) if ours else "put there by others"
            self._change(row, "remove", why, left=True)

    def _why_off(self, profile_id: int) -> str:
        if profile_id in self._inside:
            return "another record of the profile is meant now"
        return gone.why_left(self.config)

    @property
    def _here(self) -> pl.Expr:
        """Whether a record is on the list, as far as the state knows."""
        if self.list_id is None:
            return pl.lit(value=False)
        return (pl.col("list") == self.list_id).fill_null(value=False)

    def _change(self, row: dict[str, object], op: Op, why: str, *, left: bool = False) -> None:
        self.asked = True
        record = str(row["record"])
        self.changes.append(
            Change(
                profile_id=cast(int, row["profile_id"]),
                object=str(row["object"]),
                record_id=record_id(record),
                op=op,
                key_field=LIST,
                key_value=self.list_id,
                sent={},
                told={},
                asked={},
                old={},
                why={"list": why},
                notes=notes(op, self.list_id),
                digest=mapping.digest(self.config.fingerprint, op, {LIST: self.config.list_}),
                left=left,
            )
        )

    def _hold_refused(self) -> None:
        """Rows that were refused before wait in the dead letters."""
        builder = planner.letters_only(self.config, self.inputs.letters, self.changes)
        self.changes = builder.changes
        self.obstacles += builder.obstacles

    def _note(self, profile_id: int, record: str, on: str | None, put: str | None) -> None:
        object_name = record.partition(":")[0].partition(".")[2]
        self.there.append((profile_id, record, object_name, on, put))

    def checked(self, now: datetime) -> pl.DataFrame:
        """Rows for the state: the list, and records that were on it already."""
        names = ("profile_id", "record", "object", "list", "put")
        schema = {n: state_table("x").schema[n] for n in names}
        frame = pl.DataFrame(self.there, schema=schema, orient="row")
        return frame.with_columns(checked_at=pl.lit(now, dtype=TS))

    def brakes(self) -> Iterable[str]:
        """Why the plan may not be applied."""
        limits, changed = self.config.stop_if, [c for c in self.changes if c.op != "create"]
        if limits.changed and self.on and not limits.changed.allows(len(changed), self.on):
            yield (
                f"{len(changed)} members would change of {self.on}; stop_if.changed is "
                f"{limits.changed}"
            )
        left = sum(c.left for c in self.changes)
        yield from planner.too_many_left(self.config, left, self.on, self.profiles)


def notes(op: Op, list_id: str | None) -> dict[str, str | None]:
    """What the state keeps of a record that was put on a list, or taken off one."""
    return {"list": list_id, "put": list_id} if op == "add" else {"list": "", "put": None}


def _obstacle(row: dict[str, object], why: str) -> Obstacle:
    return Obstacle(
        profile_id=cast(int, row["profile_id"]),
        object=str(row["object"]),
        record=str(row["record"]),
        why=why,
    )


class ListWriter:
    """Sends changes of a list's members; makes the list first where the plan says so."""

    def __init__(self, destination: Destination, config: SyncConfig, plan: Plan) -> None:
        self._lists = list_destination(destination, config)
        self._source = config.source
        members = [c for c in plan.changes if c.op != "create"]
        self._object = members[0].object if members else ""
        self._id = next((c.key_value for c in members if c.key_value), None)

    def size(self, object_name: str) -> int:
        """How many rows one call may carry."""
        del object_name
        return self._lists.members_batch

    def ready(self, batch: Sequence[Change]) -> list[Change]:
        """The changes as they are announced: of a list made a moment ago its id is known now."""
        if batch[0].op == "create" or batch[0].key_value is not None:
            return list(batch)
        known = notes(batch[0].op, self._id)
        return [replace(change, key_value=self._id, notes=known) for change in batch]

    def write(self, batch: Sequence[Change]) -> list[RowOutcome]:
        """Send one batch, all of one op."""
        first = batch[0]
        if first.op == "create":
            try:
                self._id = self._lists.create_list(first.key_value or "", self._object)
            except UnknownOutcome as error:
                # Without its id nobody can be put on it; the next run looks whether it is there.
                raise Unavailable(str(error)) from error
            return [RowOutcome(0, True, record_id=self._id, created=True)]
        if first.key_value is None:
            raise Unavailable(f"{self._source}: the list was not made; the next run tries again")
        ids = [change.record_id or "" for change in batch]
        add, remove = (ids, []) if first.op == "add" else ([], ids)
        return self._lists.change_members(first.key_value, add, remove)


def list_answers(destination: Destination, entries: Sequence[ledger.Entry]) -> list[ledger.Answer]:
    """What became of rows of a list that got no answer, by what the list shows."""
    lists = cast(ListDestination, destination)
    if entries[0].op == "create":
        found = {name: lists.list_id(name) for name in {e.key_value or "" for e in entries}}
        return [_made(entry, found[entry.key_value or ""]) for entry in entries]
    members: dict[str, set[str] | None] = {}
    for list_id in {entry.key_value or "" for entry in entries}:
        try:
            members[list_id] = {i for page in lists.list_members(list_id) for i in page}
        except Refused:
            members[list_id] = None
    answers = []
    for entry in entries:
        on = members[entry.key_value or ""]
        done = on is not None and (entry.record_id in on) == (entry.op == "add")
        answers.append(ledger.Answer(id=entry.id, outcome="ok" if done else "lost"))
    return answers


def _made(entry: ledger.Entry, list_id: str | None) -> ledger.Answer:
    if list_id is None:
        return ledger.Answer(id=entry.id, outcome="lost")
    return ledger.Answer(id=entry.id, outcome="ok", record_id=list_id, created=True)
