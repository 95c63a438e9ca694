"""Row by row: what to send, by the values that the destination shows now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from cdp_assets.connectors.base import Destination, ObjectInfo
from cdp_assets.syncs import mapping
from cdp_assets.syncs.config import FieldConfig, SyncConfig
from cdp_assets.syncs.mapping import KEY, MATCH, FieldError, value
from cdp_assets.syncs.model import Change, Obstacle, record_id, ref
from cdp_assets.syncs.tables import last, state_table
from cdp_assets.syncs.text import text

CONFLICT_ATTEMPTS = 3
Remembered = Mapping[str, Mapping[str, str | None]]


class Builder:
    """Collects the changes and obstacles of one plan."""

    def __init__(
        self,
        config: SyncConfig,
        destination: Destination,
        objects: Mapping[str, ObjectInfo],
        letters: pl.DataFrame,
    ) -> None:
        self.config = config
        self.changes: list[Change] = []
        self.obstacles: list[Obstacle] = []
        self._destination = destination
        self._objects = objects
        self._letters = {(r["profile_id"], r["target"]): r for r in letters.iter_rows(named=True)}
        self._checked: list[dict[str, Any]] = []

    def errors(self, obstacles: Iterable[Obstacle]) -> None:
        """Note rows that cannot be written."""
        self.obstacles += obstacles

    def updates(self, object_name: str, rows: pl.DataFrame, remembered: Remembered) -> None:
        """Decide rows of records that are there, after one reading of them.

        rows: profile_id, record, count, told, rule, `value_<field>`. A record that does not show
        is an error, never a reason to create one.
        """
        fields = {n: f for n, f in self.config.fields.items() if f.write != "on_create"}
        ids = [record_id(record) for record in rows["record"].unique().to_list()]
        shown = self._destination.read(object_name, ids, list(fields))
        for row in rows.iter_rows(named=True):
            record = row["record"]
            current = shown.get(record_id(record))
            why = None
            if self.config.several == "skip" and row["count"] > 1:
                why = f"the profile has {row['count']} records there, and `several` is skip"
            elif current is None:
                why = "the record is gone there; the next pull will tell what became of it"
            if why is not None:
                self._obstacle(row["profile_id"], object_name, record, why)
            elif current is not None:
                self._update(object_name, row, current, fields, remembered.get(record, {}))

    def _update(
        self,
        object_name: str,
        row: Mapping[str, Any],
        current: Mapping[str, Any],
        fields: Mapping[str, FieldConfig],
        before: Mapping[str, str | None],
    ) -> None:
        sent: dict[str, Any] = {}
        told: dict[str, str | None] = {}
        old: dict[str, str | None] = {}
        asked: dict[str, str | None] = {}
        why: dict[str, str] = {}
        for name, field in fields.items():
            wish = row[value(name)]
            present = mapping.present(self._destination, object_name, name, current.get(name))
            if text(wish) is None and field.when_null == "keep":
                continue
            if field.write == "if_empty" and present is not None:
                asked[name] = text(wish)
                continue
            try:
                form, said = self._told(object_name, name, wish)
            except FieldError as error:
                self._obstacle(row["profile_id"], object_name, row["record"], str(error), name)
                continue
            asked[name] = text(wish)
            if said == present:
                continue
            sent[name], told[name], old[name] = form, said, present
            why[name] = _why(field, row, before.get(name))
        if not sent:
            self._remember(row, object_name, asked, before)
            return
        self._add(
            Change(
                profile_id=row["profile_id"],
                object=object_name,
                record_id=record_id(row["record"]),
                op="update",
                sent=sent,
                told=told,
                asked=asked,
                old=old,
                why=why,
                digest=mapping.digest(self.config.fingerprint, "update", told),
                repeated=bool(row["told"]),
            )
        )

    def creates(self, object_name: str, rows: pl.DataFrame, refused: Mapping[int, str]) -> None:
        """Decide records to be created.

        rows: profile_id, key, match, `value_<field>`. refused: profiles that must not be, and why.
        """
        key, match = self.config.key_rule, self.config.match_rule
        record = ref(self.config.source, object_name, None)
        for row in rows.sort("profile_id").iter_rows(named=True):
            if (reason := refused.get(row["profile_id"])) is not None:
                self._obstacle(row["profile_id"], object_name, record, reason)
                continue
            wishes = {n: row[value(n)] for n in self.config.fields}
            if match and match[0] not in wishes:
                wishes[match[0]] = row[MATCH]
            sent: dict[str, Any] = {}
            told: dict[str, str | None] = {}
            asked: dict[str, str | None] = {}
            why: dict[str, str] = {}
            for name, wish in wishes.items():
                if text(wish) is None:
                    continue
                try:
                    sent[name], told[name] = self._told(object_name, name, wish)
                except FieldError as error:
                    self._obstacle(row["profile_id"], object_name, record, str(error), name)
                    continue
                asked[name] = text(wish)
                why[name] = "new record"
            op = "upsert" if key else "create"
            told_all = {**told, **({key[0]: row[KEY]} if key else {})}
            self._add(
                Change(
                    profile_id=row["profile_id"],
                    object=object_name,
                    record_id=None,
                    op="upsert" if key else "create",
                    key_field=key[0] if key else match[0] if match else None,
                    key_value=row[KEY] if key else row[MATCH] if match else None,
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
        names = [last(f) for f in self.config.fields]
        base = state_table("x").schema
        schema = {**base, **dict.fromkeys(names, pl.String())}
        rows = [{**row, "checked_at": now} for row in self._checked]
        return pl.DataFrame(rows, schema=schema)

    def _told(self, object_name: str, field: str, wish: Any) -> tuple[Any, str | None]:
        info = self._objects.get(object_name)
        return mapping.as_told(self._destination, info, object_name, field, wish)

    def _add(self, change: Change) -> None:
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
            self.changes.append(_tried(change))

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

    def _remember(
        self,
        row: Mapping[str, Any],
        object_name: str,
        asked: Mapping[str, str | None],
        before: Mapping[str, str | None],
    ) -> None:
        if not asked:
            return
        known = {last(f): v for f, v in {**before, **asked}.items()}
        head = {"record": row["record"], "object": object_name, "profile_id": row["profile_id"]}
        self._checked.append({**head, **known})


def _held(letter: Mapping[str, Any], digest: str) -> bool:
    """Whether a refused row stays back: the same is asked again, and nobody released it."""
    if letter["state"] != "open" or letter["digest"] != digest:
        return False
    if letter["error_class"] == "conflict":
        return bool(letter["attempts"] >= CONFLICT_ATTEMPTS)
    return bool(letter["error_class"] != "retry")


def _tried(change: Change) -> Change:
    return replace(change, tried=True)


def _why(field: FieldConfig, row: Mapping[str, Any], before: str | None) -> str:
    what = ", ".join(field.columns) or "literal"
    if row["rule"] is not None:
        return f"{what}: record found by {row['rule']}"
    if field.write == "if_empty":
        return f"{what}: the record has no value"
    return f"{what}: not told before" if before is None else f"{what}: changed since told"
