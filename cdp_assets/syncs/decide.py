"""Row by row: what to send, by the values that the destination shows now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from cdp_assets.connectors.base import Destination, ObjectInfo
from cdp_assets.syncs import gone, mapping, policies
from cdp_assets.syncs.config import FieldConfig, SyncConfig
from cdp_assets.syncs.lookups import Lookups
from cdp_assets.syncs.mapping import KEY, MATCH, FieldError, value, want
from cdp_assets.syncs.model import Change, Inputs, Obstacle, record_id, ref
from cdp_assets.syncs.tables import held, is_value, last, settled, state_table

CONFLICT_ATTEMPTS = 3


class Letters:
    """Collects changes and obstacles; rows that were refused before wait, or go last."""

    def __init__(self, config: SyncConfig, letters: pl.DataFrame) -> None:
        self.config = config
        self.changes: list[Change] = []
        self.obstacles: list[Obstacle] = []
        self._letters = {(r["profile_id"], r["target"]): r for r in letters.iter_rows(named=True)}

    def add(self, change: Change) -> None:
        """Note a row to be written, unless the same was refused and nobody released it."""
        target = ref(self.config.source, change.object, change.record_id)
        letter = self._letters.get((change.profile_id, target))
        if letter is None:
            self.changes.append(change)
        elif _held(letter, change.digest):
            why = (
                f"refused before ({letter['code'] or letter['error_class']}); see the dead letters"
            )
            self._obstacle(change.profile_id, change.object, target, why, op="held")
        else:
            self.changes.append(replace(change, tried=True))

    def _obstacle(
        self,
        profile_id: int,
        object_name: str,
        record: str,
        why: str,
        field: str = "",
        op: str = "error",
    ) -> None:
        self.obstacles.append(
            Obstacle(
                profile_id=profile_id,
                object=object_name,
                record=record,
                why=why,
                field=field,
                op=op,
            )
        )


SEARCHABLE = frozenset({"string", "text", "email", "phone", "url", "enum"})
"""Types of fields by whose text a record is sought."""


@dataclass(frozen=True)
class Extra:
    """What a record to be created has beside its fields. marker: the field by whose text it is
    found again where there is no key."""

    links: tuple[tuple[str, str], ...] = ()
    entry: str | None = None
    marker: str | None = None


def linked(inputs: Inputs, link: Sequence[str]) -> dict[int, dict[str, tuple[str, str]]]:
    """Profile → entity of `link` → (object, record id) that a new record is linked with."""
    found: dict[int, dict[str, tuple[str, str]]] = defaultdict(dict)
    rows = inputs.associated.select("profile_id", "entity", "record").collect()
    for profile_id, entity, record in rows.sort("profile_id", "entity").iter_rows():
        object_name, _, record_id = record.partition(".")[2].partition(":")
        found[profile_id][entity] = (object_name, record_id)
    # A record may have one place for several: the first named takes it.
    return {p: {e: mine[e] for e in link if e in mine} for p, mine in found.items()}


@dataclass
class _Wish:
    """forms: field → (value to send, its text). asked: the profile's own text of those fields.
    before: what the record was last told, or found to hold."""

    before: Mapping[str, str | None]
    forms: dict[str, tuple[Any, str | None]] = field(default_factory=dict)
    asked: dict[str, str | None] = field(default_factory=dict)


class Builder(Letters):
    """Collects the changes and obstacles of one plan."""

    def __init__(
        self,
        config: SyncConfig,
        destination: Destination,
        objects: Mapping[str, ObjectInfo],
        inputs: Inputs,
    ) -> None:
        super().__init__(config, inputs.letters)
        self._lookups = Lookups(config, destination, inputs.users)
        self._destination = destination
        self._objects = objects
        self._checked: list[dict[str, Any]] = []
        self._compared = {n: f for n, f in config.fields.items() if f.write != "on_create"}

    def errors(self, obstacles: Iterable[Obstacle]) -> None:
        """Note rows that cannot be written."""
        self.obstacles += obstacles

    def updates(self, object_name: str, rows: pl.DataFrame) -> None:
        """Decide rows of records that are there, after one reading of those with news.

        rows: profile_id, record, count, told, rule, `value_<field>`, `want_<field>` and
            `last_<field>`.
        A record that does not show is an error, never a reason to create one.
        """
        self._lookups.prepare(self._compared, rows)
        prepared = [
            (row, wish)
            for row in rows.iter_rows(named=True)
            if (wish := self._wish(object_name, row)) is not None
        ]
        if not prepared:
            return
        ids = sorted({record_id(row["record"]) for row, _ in prepared})
        shown = self._destination.read(object_name, ids, list(self._compared))
        for row, wish in prepared:
            current = shown.get(record_id(row["record"]))
            if current is None:
                self._obstacle(row["profile_id"], object_name, row["record"], gone.TOO_GONE)
            else:
                self._update(object_name, row, wish, current)

    def departures(self, object_name: str, rows: pl.DataFrame) -> None:
        """Decide records whose profile left. rows: see `gone.left`."""
        clears = []
        for row in rows.iter_rows(named=True):
            if row["erase"]:
                self.add(gone.deletion(row, self.config))
            else:
                clears.append(row)
        if not clears:
            return
        ids = sorted({record_id(row["record"]) for row in clears})
        shown = self._destination.read(object_name, ids, gone.cleared(self.config))
        for row in clears:
            current = shown.get(record_id(row["record"]))
            if current is None:
                self._obstacle(row["profile_id"], object_name, row["record"], gone.TOO_GONE)
            else:
                self._clear(object_name, row, current)

    def _clear(self, object_name: str, row: Mapping[str, Any], current: Mapping[str, Any]) -> None:
        info = self._objects.get(object_name)
        found = gone.Clearing(self.config, self._destination, info, row, current)
        self.obstacles += found.obstacles()
        if (change := found.change()) is not None:
            self.add(change)
        else:
            self._note(row, object_name, found.known())

    def _note(
        self, row: Mapping[str, Any], object_name: str, known: Mapping[str, str | None]
    ) -> None:
        """Keep what was found in order. Of the fields that `known` leaves out the state stays."""
        head = {"record": row["record"], "object": object_name, "profile_id": row["profile_id"]}
        fields = self.config.fields.items()
        before = {settled(n, f.write): row[last(n)] for n, f in fields}
        before |= {last(n): row[held(n)] for n, _ in fields if row[held(n)] is not None}
        self._checked.append({**head, **before, **known})

    def _wish(self, object_name: str, row: Mapping[str, Any]) -> _Wish | None:
        """What the record should hold; None where nothing of it is news that can be told."""
        if self.config.several == "skip" and row["count"] > 1:
            why = f"the profile has {row['count']} records there, and `several` is skip"
            self._obstacle(row["profile_id"], object_name, row["record"], why)
            return None
        wish = _Wish({n: row[last(n)] for n in self.config.fields})
        news = bool(row["differs"])
        for name in self._compared:
            asked = row[want(name)]
            if asked is None:
                continue
            try:
                wish.forms[name] = self._told(object_name, name, row[value(name)], asked)
            except FieldError as error:
                self._obstacle(row["profile_id"], object_name, row["record"], str(error), name)
                continue
            wish.asked[name] = asked
            news = news or asked != wish.before[name]
        return wish if news else None

    def _update(
        self, object_name: str, row: Mapping[str, Any], wish: _Wish, current: Mapping[str, Any]
    ) -> None:
        sent: dict[str, Any] = {}
        told: dict[str, str | None] = {}
        old: dict[str, str | None] = {}
        why: dict[str, str] = {}
        notes: dict[str, str | None] = {}
        for name, form in wish.forms.items():
            field, shown = self._compared[name], current.get(name)
            found = policies.judge(
                self._destination, object_name, name, field, form, row[held(name)], shown
            )
            if field.write == "give_way" and found.act in ("write", "equal"):
                # Kept in the profile's spelling, so that it differs from what was offered only
                # where people have changed it.
                notes[last(name)] = wish.asked[name]
            if found.act == "write":
                sent[name], told[name], old[name] = found.form, found.said, found.present
                why[name] = _why(field, row, wish.before.get(name), changed=found.changed)
            elif found.act == "give_way":
                self.gives_way(row, name)
        if not sent:
            known = {settled(f, self._compared[f].write): v for f, v in wish.asked.items()}
            self._note(row, object_name, {**known, **notes})
            return
        self.add(
            Change(
                profile_id=row["profile_id"],
                object=object_name,
                record_id=record_id(row["record"]),
                op="update",
                sent=sent,
                told=told,
                asked=wish.asked,
                old=old,
                why=why,
                digest=mapping.digest(self.config.fingerprint, "update", told),
                repeated=bool(row["told"]),
                notes=notes,
            )
        )

    def gives_way(self, row: Mapping[str, Any], name: str) -> None:
        """Say that a field stays as people wrote it."""
        object_name = row["record"].partition(":")[0].partition(".")[2]
        why = policies.GIVES_WAY
        self._obstacle(row["profile_id"], object_name, row["record"], why, name, op="left")

    def creates(
        self,
        object_name: str,
        rows: pl.DataFrame,
        refused: Mapping[int, str],
        extras: Mapping[int, Extra],
    ) -> None:
        """Decide records to be created.

        rows: profile_id, key, match, `value_<field>`, `want_<field>`.
        refused: profiles that must not be, and why. extras: of the profiles that have any.
        """
        self._lookups.prepare(self.config.fields, rows)
        key, match = self.config.key_rule, self.config.match_rule
        record = ref(self.config.source, object_name, None)
        for row in rows.sort("profile_id").iter_rows(named=True):
            if (reason := refused.get(row["profile_id"])) is not None:
                self._obstacle(row["profile_id"], object_name, record, reason)
                continue
            extra = extras.get(row["profile_id"], Extra())
            wishes = {n: (row[value(n)], row[want(n)]) for n in self.config.fields}
            if match and match[0] not in wishes:
                wishes[match[0]] = (row[MATCH], row[MATCH])
            sent: dict[str, Any] = {}
            told: dict[str, str | None] = {}
            asked: dict[str, str | None] = {}
            why: dict[str, str] = {}
            for name, (wish, said) in wishes.items():
                if not said:
                    continue
                try:
                    sent[name], told[name] = self._told(object_name, name, wish, said)
                except FieldError as error:
                    self._obstacle(row["profile_id"], object_name, record, str(error), name)
                    continue
                asked[name] = said
                why[name] = "new record" if extra.entry is None else "new entry"
            if extra.entry is not None and not told:
                self._obstacle(row["profile_id"], object_name, record, "no field has a value")
                continue
            op = "upsert" if key else "create"
            told_all = {**told, **({key[0]: row[KEY]} if key else {})}
            fields = self.config.fields
            notes: dict[str, str | None] = {
                last(n): text
                for n, text in asked.items()
                if n in fields and fields[n].write == "give_way"
            }
            if extra.entry is not None:
                notes |= {"entry": extra.entry, "linked": " ".join(map(":".join, extra.links))}
                told_all["(entry)"] = extra.entry
            found_by = (
                (match[0], row[MATCH]) if match else (extra.marker, told.get(extra.marker or ""))
            )
            if not key and found_by[1] is None:
                found_by = (None, None)
            self.add(
                Change(
                    profile_id=row["profile_id"],
                    object=object_name,
                    record_id=None,
                    op="upsert" if key else "create",
                    key_field=key[0] if key else found_by[0],
                    key_value=row[KEY] if key else found_by[1],
                    notes=notes,
                    links=extra.links,
                    sent=sent,
                    told=told,
                    asked=asked,
                    old={},
                    why=why,
                    digest=mapping.digest(self.config.fingerprint, op, told_all),
                )
            )

    def checked_rows(self, now: datetime) -> pl.DataFrame:
        """Rows for the state: records that were read and hold what is wanted."""
        names = sorted({n for row in self._checked for n in row if is_value(n)})
        kept = ("record", "object", "profile_id", "checked_at")
        base = {n: t for n, t in state_table("x").schema.items() if n in kept}
        schema = {**base, **dict.fromkeys(names, pl.String())}
        rows = [{**row, "checked_at": now} for row in self._checked]
        return pl.DataFrame(rows, schema=schema)

    def _told(self, object_name: str, name: str, wish: Any, said: str) -> tuple[Any, str | None]:
        info, field = self._objects.get(object_name), self.config.fields.get(name)
        if field is not None and field.sought and said:
            wish = self._lookups.id_of(name, said)
        cut = field is not None and field.too_long == "cut"
        return mapping.as_told(self._destination, info, object_name, name, wish, cut=cut)


def _held(letter: Mapping[str, Any], digest: str) -> bool:
    """Whether a refused row stays back: the same is asked again, and nobody released it."""
    if letter["state"] != "open" or letter["digest"] != digest:
        return False
    if letter["error_class"] == "conflict":
        return bool(letter["attempts"] >= CONFLICT_ATTEMPTS)
    return bool(letter["error_class"] != "retry")


def _why(field: FieldConfig, row: Mapping[str, Any], before: str | None, *, changed: bool) -> str:
    what = ", ".join(field.columns) or "literal"
    if row["rule"] is not None:
        return f"{what}: record found by {row['rule']}"
    if field.write == "if_empty":
        return f"{what}: the record has no value"
    if changed:
        return f"{what}: {policies.CHANGED}"
    return f"{what}: not told before" if before is None else f"{what}: changed since told"
