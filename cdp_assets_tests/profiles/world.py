"""A small lake with the tables that profiles read, written row by row by the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from cdp_assets.connectors.base import ObjectMapping
from cdp_assets.events.tables import (
    BATCH,
    CATALOGUE,
    DECIMAL,
    EVENTS,
    typed_columns,
    typed_keys,
    typed_table,
)
from cdp_assets.events.tables import VALUES as EVENT_VALUES
from cdp_assets.identity.tables import CHANGES, GRAPH, LINKS, LOGINS, RULES
from cdp_assets.lake import Lake, Table
from cdp_assets.profiles import TraitsConfig, build
from cdp_assets.profiles.build import BuildResult
from cdp_assets.records.config import ObjectSpec
from cdp_assets.records.tables import RELATION, VALUES, entity_table

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
PROPERTIES = {"revenue": DECIMAL, "quantity": DECIMAL, "feature": pl.String(), "plan": pl.String()}
SPECS = (
    ObjectSpec("salesforce", "Contact", ObjectMapping(entity="person")),
    ObjectSpec("salesforce", "Account", ObjectMapping(entity="account")),
    ObjectSpec("salesforce", "Opportunity", ObjectMapping(entity="opportunity")),
    ObjectSpec(
        "salesforce",
        "Subscription__c",
        ObjectMapping(entity="subscription", columns={"mrr": "MRR__c", "status": "Status__c"}),
    ),
)


def at(text: str) -> datetime:
    """`2026-03-01` or `2026-03-01T10:00` as a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def traits(entity: str = "person", **named: Mapping[str, Any]) -> TraitsConfig:
    return TraitsConfig.model_validate({"entity": entity, "traits": named})


class World:
    """Writes inputs as the rooms to the left would, one commit a call."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(root)
        self._messages = 0
        self._merge(
            RULES,
            [
                {"entity": "person", "type": kind, "rank": rank, "event_column": kind}
                for rank, kind in ((1, "user_id"), (2, "anonymous_id"))
            ],
        )

    # --- identity -------------------------------------------------------------------------

    def identify(
        self, profile: int | None, *identifiers: str, entity: str = "person", when: datetime = NOW
    ) -> None:
        """Move identifiers to a profile, or to none."""
        graph = self.lake.open(GRAPH)
        known = dict(
            graph.scan()
            .filter(pl.col("entity") == entity)
            .select("identifier", "profile_id")
            .collect()
            .iter_rows()
        )
        moved = [i for i in identifiers if known.get(i) != profile]
        if not moved:
            return
        moves = self._append(
            CHANGES,
            [
                {
                    "entity": entity,
                    "identifier": i,
                    "from": known.get(i),
                    "to": profile,
                    "cause": "test",
                    "at": when,
                }
                for i in moved
            ],
        )
        if profile is None:
            keys = pl.DataFrame({"entity": [entity] * len(moved), "identifier": moved})
            graph.delete(keys, watermarks={CHANGES.key: moves})
        else:
            self._merge(
                GRAPH,
                [
                    {
                        "entity": entity,
                        "identifier": i,
                        "profile_id": profile,
                        "type": i.split(":")[0],
                    }
                    for i in moved
                ],
                {CHANGES.key: moves},
            )

    def login(self, device: str, user: str, since: datetime, until: datetime | None) -> None:
        """A log-in on a device that several people use: the refused link makes it one."""
        ends = sorted([f"anonymous_id:{device}", f"user_id:{user}"])
        self._merge(
            LINKS,
            [
                {
                    "entity": "person",
                    "left": ends[0],
                    "right": ends[1],
                    "source": "events",
                    "state": "refused",
                }
            ],
        )
        self._merge(LOGINS, [{"anonymous_id": device, "from": since, "user_id": user, "to": until}])

    # --- events ---------------------------------------------------------------------------

    def event(
        self,
        name: str,
        when: datetime,
        *,
        user: str | None = None,
        device: str | None = None,
        day: date | None = None,
        **properties: Any,
    ) -> None:
        self.events([(name, when, user, device, properties)], day=day)

    def events(
        self,
        rows: Iterable[tuple[str, datetime, str | None, str | None, dict[str, Any]]],
        day: date | None = None,
    ) -> None:
        """Append events to the typed tables and to `events`, one commit a table."""
        typed: dict[str, list[dict[str, Any]]] = {}
        plain: list[dict[str, Any]] = []
        for name, when, user, device, properties in rows:
            self._messages += 1
            envelope = {
                "message_id": f"m{self._messages}",
                "source": "app",
                "anonymous_id": device,
                "user_id": user,
                "timestamp": when,
                "event_day": day or when.date(),
            }
            plain.append(
                {
                    **envelope,
                    "type": "track",
                    "event": name,
                    "visitor": device or user or "",
                    "received_at": when,
                    "payload": json.dumps({"properties": properties}, default=str),
                }
            )
            values = {
                typed_columns(PROPERTIES)[k]: Decimal(v)
                if v is not None and PROPERTIES[k] == DECIMAL
                else v
                for k, v in properties.items()
            }
            typed.setdefault(name, []).append({**envelope, **values})
        marks = {}
        for name, found in typed.items():
            key = typed_keys([name])[name]
            columns = json.dumps(typed_columns(PROPERTIES))
            self._merge(CATALOGUE, [{"event": name, "table": key, "columns": columns, "spec": "x"}])
            marks[key] = self._append(typed_table(name, key, PROPERTIES), found)
        self._append(EVENTS, plain, self._next(marks))

    def _next(self, marks: dict[str, int]) -> dict[str, int]:
        return {**marks, BATCH: self.lake.open(EVENTS).watermark(BATCH) + 1}

    def half_ingested(self, name: str, *, user: str, when: datetime, **properties: Any) -> None:
        """What an ingest killed before its last commit leaves: a row of the typed table alone."""
        key = typed_keys([name])[name]
        values = {k: Decimal(v) if PROPERTIES[k] == DECIMAL else v for k, v in properties.items()}
        row = {"message_id": "half", "user_id": user, "timestamp": when, "event_day": when.date()}
        self._append(typed_table(name, key, PROPERTIES), [{**row, **values}])

    def forget(self, name: str, user: str) -> None:
        """Take a user's rows out of a typed table, as an erasure would."""
        table = self.lake.open(typed_table(name, typed_keys([name])[name], PROPERTIES))
        rows = table.scan().drop("_seq").collect()
        table.replace(
            rows.filter(pl.col("user_id") != user), scope=rows.select("event_day").unique()
        )
        marks = self._next({table.table.key: table.seq()})
        self.lake.open(EVENTS).append(pl.DataFrame(schema=dict(EVENTS.schema)), watermarks=marks)

    def decode_anew(self, event: str) -> None:
        """Write a typed table again from nothing, as after a change of its properties."""
        table = self.lake.open(typed_table(event, typed_keys([event])[event], PROPERTIES))
        rows = table.scan().drop("_seq").collect()
        if rows.height:
            table.truncate(0)
            marks = {table.table.key: table.append(rows).seq}
            empty = pl.DataFrame(schema=dict(EVENTS.schema))
            self.lake.open(EVENTS).append(empty, watermarks=self._next(marks))

    def told(self, identifier: str, field: str, value: str | None, when: datetime) -> None:
        """An identify call of a user, and its row of events/values."""
        self._messages += 1
        user = identifier.removeprefix("user_id:")
        self._append(
            EVENTS,
            [
                {
                    "message_id": f"m{self._messages}",
                    "source": "app",
                    "type": "identify",
                    "user_id": user,
                    "visitor": user,
                    "timestamp": when,
                    "received_at": when,
                    "event_day": when.date(),
                    "payload": "{}",
                }
            ],
        )
        self._merge(
            EVENT_VALUES,
            [
                {
                    "source": "app",
                    "visitor": identifier,
                    "identifier": identifier,
                    "field": field,
                    "value": value,
                    "changed_at": when,
                    "message_id": f"m{self._messages}",
                }
            ],
        )

    # --- records --------------------------------------------------------------------------

    def record(
        self,
        ref: str,
        entity: str,
        when: datetime = NOW,
        *,
        deleted: bool = False,
        **fields: str | None,
    ) -> None:
        """A record as it is now, with the values of its fields."""
        name, record_id = ref.split(":", 1)
        source, object_name = name.split(".", 1)
        key = {"source": source, "object": object_name, "record_id": record_id, "record": ref}
        self._merge(
            entity_table(entity),
            [{**key, "deleted": deleted, "changed_at": when, "extracted_at": when}],
        )
        values = self.lake.open(VALUES)
        old = values.scan().filter(pl.col("record") == ref).drop("_seq").collect()
        superseded = [
            {**row, "current": False}
            for row in old.iter_rows(named=True)
            if row["current"] and (deleted or row["field"].rsplit(".", 1)[1] in fields)
        ]
        rows = [
            {
                **key,
                "entity": entity,
                "field": f"{name}.{field}",
                "value": value,
                "changed_at": when,
                "extracted_at": when,
                "current": not deleted,
            }
            for field, value in fields.items()
        ]
        new = {(r["field"], r["changed_at"]) for r in rows}
        kept = [r for r in superseded if (r["field"], r["changed_at"]) not in new]
        self._merge(VALUES, [*kept, *rows])

    def relate(self, source: str, kind: str, target: str) -> None:
        self._merge(
            RELATION,
            [
                {
                    "from": source,
                    "kind": kind,
                    "to": target,
                    "label": kind,
                    "primary": True,
                    "source": source.split(".")[0],
                }
            ],
        )

    def unrelate(self, source: str, kind: str, target: str) -> None:
        self.lake.open(RELATION).delete(
            pl.DataFrame({"from": [source], "kind": [kind], "to": [target]})
        )

    # --- profiles -------------------------------------------------------------------------

    def build(self, config: TraitsConfig, now: datetime = NOW, **options: Any) -> BuildResult:
        return build(self.lake, config, now=now, **{"specs": SPECS, "run": "r", **options})

    def profiles(self, entity: str = "person") -> dict[int, dict[str, Any]]:
        """profile_id → its row."""
        from cdp_assets.profiles.inputs import open_any

        frame = open_any(self.lake, f"profiles/{entity}").scan().drop("_seq").collect()
        rows = {row["profile_id"]: row for row in frame.sort("profile_id").iter_rows(named=True)}
        for row in rows.values():
            del row["profile_id"]
        return rows

    def _append(
        self, table: Table, rows: list[dict[str, Any]], marks: Mapping[str, int] | None = None
    ) -> int:
        frame = pl.DataFrame(rows, schema=_types(table, rows))
        return self.lake.open(table).append(frame, watermarks=marks).seq

    def _merge(
        self, table: Table, rows: list[dict[str, Any]], marks: Mapping[str, int] | None = None
    ) -> None:
        if rows:
            frame = pl.DataFrame(rows, schema=_types(table, rows))
            self.lake.open(table).merge(frame, watermarks=marks)


def _types(table: Table, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(table.schema)
