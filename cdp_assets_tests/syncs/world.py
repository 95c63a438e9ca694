"""A destination made of dictionaries, and the frames that a plan reads, for tests of syncs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.base import (
    Description,
    FieldInfo,
    ObjectInfo,
    ObjectMapping,
    Refused,
    Relation,
    RowChange,
    RowOutcome,
    UnknownOutcome,
    WrongObject,
)
from cdp_assets.lake import Lake
from cdp_assets.store import Store, letters
from cdp_assets.syncs.approval import approve
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Inputs
from cdp_assets.syncs.run import ApplyResult, apply, plan
from cdp_assets.syncs.state import remembered
from cdp_assets.syncs.tables import plan_table, sought_table, state_table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = ("CDP_Id__c",)
OPTIONS = {"Status": ("Open", "Won"), "Interests__c": ("a", "b", "c")}


def info(*names: str) -> ObjectInfo:
    kinds = {
        "Revenue__c": "decimal", "Orders__c": "integer", "Status": "enum",
        "Interests__c": "multi_enum", "OwnerId": "reference", "AccountId": "reference",
    }  # fmt: skip
    fields = {
        n: FieldInfo(
            name=n,
            type=kinds.get(n, "string"),  # type: ignore[arg-type]
            length=40 if kinds.get(n) is None else None,
            options=OPTIONS.get(n, ()),
            external_id=n in KEYS,
            unique=n in KEYS,
        )
        for n in names
    }
    fields["Name"] = FieldInfo(name="Name", type="string", createable=False, updateable=False)
    return ObjectInfo(name="X", fields=fields)


TASK = ("Subject", "Status", "CDP_Id__c", "WhoId", "WhatId")
FIELDS = (
    "Interests__c",
    "OwnerId",
    "AccountId",
    "Email",
    "Title",
    "Revenue__c",
    "Orders__c",
    "LeadSource",
    "Status",
    "CDP_Id__c",
)
DESCRIPTION = Description(
    source="crm",
    system="fake",
    names=("Contact", "Lead", "Account", "Task"),
    taken_at=NOW,
    objects={
        **{name: info(*FIELDS) for name in ("Contact", "Lead", "Account")},
        "Task": info(*TASK),
    },
)


@dataclass
class Crm:
    """A destination: object → record id → fields. `faults` is called before each write and may
    raise, or return rows (by their number) to refuse with a class. Kept in `file` if one is given,
    so that it outlives a killed process as a real system does. With `cut`, one call takes effect
    for its first rows only, and gives no answer."""

    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    batch: int = 3
    name: str = "crm"
    calls: int = 0
    created: int = 0
    faults: Callable[[str, Sequence[RowChange]], Mapping[int, str] | None] | None = None
    cut: int | None = None
    file: Path | None = None
    hidden: set[str] = field(default_factory=set)
    clock: Callable[[], datetime] = lambda: NOW
    lists: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    members_batch: int = 3
    called: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            kept = json.loads(self.file.read_text())
            self.records, self.created = kept["records"], kept["created"]

    def _known(self, fields: Sequence[str]) -> None:
        if missing := self.hidden & set(fields):
            raise WrongObject(f"crm: there is no field {min(missing)}")

    def describe(self, objects: Sequence[str]) -> Description:
        shown = {
            name: msgspec.structs.replace(
                DESCRIPTION.objects[name],
                fields={
                    n: f
                    for n, f in DESCRIPTION.objects[name].fields.items()
                    if n not in self.hidden
                },
            )
            for name in objects
        }
        return msgspec.structs.replace(DESCRIPTION, objects=shown)

    def mapping(self, object_name: str) -> ObjectMapping | None:
        if object_name != "Task":
            return None
        who = (Relation("person", "WhoId", "Contact"), Relation("account", "WhatId", "Account"))
        return ObjectMapping(
            entity="activity", columns={"created_at": "CreatedDate"}, relations=who
        )

    def batch_size(self, object_name: str) -> int:
        return self.batch

    def read(
        self, object_name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        self.calls += 1
        self._known(fields)
        mine = self.records.get(object_name, {})
        return {i: {f: mine[i].get(f) for f in fields} for i in ids if i in mine}

    def find(
        self, object_name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        self.calls += 1
        found: dict[str, list[dict[str, Any]]] = {}
        for record_id, record in self.records.get(object_name, {}).items():
            value = record.get(field_name)
            if value is not None and str(value) in values:
                row = {"id": record_id, **{f: record.get(f) for f in fields}}
                found.setdefault(str(value), []).append(row)
        return found

    def write(self, object_name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        self.calls += 1
        assert len(batch) <= self.batch
        assert len({change.op for change in batch}) == 1
        refused = (self.faults(object_name, batch) if self.faults else None) or {}
        outcomes = []
        for at, change in enumerate(batch):
            if at == self.cut:
                break
            if change.row in refused:
                kind = refused[change.row]
                outcome = RowOutcome(
                    change.row,
                    False,
                    error_class=kind,
                    code=kind.upper(),
                    message="refused",  # type: ignore[arg-type]
                )
            else:
                outcome = self._one(object_name, change)
            outcomes.append(outcome)
        if self.file is not None:
            said = {"records": self.records, "created": self.created}
            self.file.write_text(json.dumps(said, default=str))
        if self.cut is not None:
            self.cut = None
            raise UnknownOutcome("crm: no answer")
        return outcomes

    def _one(self, object_name: str, change: RowChange) -> RowOutcome:
        mine = self.records.setdefault(object_name, {})
        record_id = change.record_id
        fields = dict(change.fields)
        if change.op == "upsert":
            assert change.key_field is not None
            hits = [i for i, r in mine.items() if r.get(change.key_field) == change.key_value]
            record_id = hits[0] if hits else None
            fields[change.key_field] = change.key_value
        elif change.op == "create":
            record_id = None
        if change.op == "delete":
            assert record_id is not None
            mine.pop(record_id, None)
            return RowOutcome(change.row, True, record_id=record_id)
        created = record_id is None
        if record_id is None:
            self.created += 1
            record_id = f"n{self.created:04}"
            mine[record_id] = {}
        elif record_id not in mine:
            return RowOutcome(change.row, False, error_class="gone", code="GONE", message="gone")
        mine[record_id].update(fields)
        places = {"Contact": "WhoId", "Account": "WhatId"}
        if created:
            mine[record_id].update({places[o]: i for o, i in change.links})
            if object_name == "Task":
                mine[record_id]["CreatedDate"] = self.clock().isoformat()
        return RowOutcome(change.row, True, record_id=record_id, created=created)

    # lists

    def list_id(self, name: str) -> str | None:
        self.calls += 1
        return next((i for i, (known, _) in self.lists.items() if known == name), None)

    def create_list(self, name: str, object_name: str) -> str:
        self.calls += 1
        assert object_name == "Contact"
        assert self.list_id(name) is None, "a list is made once"
        self._fault("lists", ())
        list_id = f"L{len(self.lists) + 1}"
        self.lists[list_id] = (name, set())
        return list_id

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        self.calls += 1
        yield from ([member] for member in sorted(self._on(list_id)))

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        self.calls += 1
        assert len(add) + len(remove) <= self.members_batch
        self.called.append((list(add), list(remove)))
        on = self._on(list_id)
        both = [*add, *remove]
        changes = [RowChange(at, "update", {}, record_id=i) for at, i in enumerate(both)]
        refused = self._fault("lists", changes)
        outcomes = []
        for at, member in enumerate(both[: self.cut]):
            if at in refused:
                kind: Any = refused[at]
                outcomes.append(RowOutcome(at, False, error_class=kind, code="NO", message="no"))
                continue
            (on.add if at < len(add) else on.discard)(member)
            outcomes.append(RowOutcome(at, True, record_id=member))
        if self.cut is not None:
            self.cut = None
            raise UnknownOutcome("crm: no answer")
        return outcomes

    def _on(self, list_id: str) -> set[str]:
        if list_id not in self.lists:
            raise Refused("crm: the list is gone: restore it there", status=404)
        return self.lists[list_id][1]

    def _fault(self, object_name: str, batch: Sequence[RowChange]) -> Mapping[int, str]:
        return (self.faults(object_name, batch) if self.faults else None) or {}

    def normalise(self, object_name: str, field_name: str, value: Any) -> Any:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if field_name == "Revenue__c":
            try:
                return float(Decimal(str(value)).quantize(Decimal("0.01")))
            except ArithmeticError:
                raise ValueError("Revenue__c") from None
        if field_name == "Orders__c":
            return int(value)
        if field_name == "Interests__c":
            return ";".join(sorted({p.strip() for p in str(value).split(";")} - {""})) or None
        if field_name == "Email":
            return str(value).strip().lower()
        return value if isinstance(value, bool) else str(value).strip()


def times_out(after: int = 0) -> Callable[[str, Sequence[RowChange]], None]:
    """A fault: the call number `after` never reaches the system and no answer comes."""
    seen = [0]

    def fault(object_name: str, batch: Sequence[RowChange]) -> None:
        seen[0] += 1
        if seen[0] == after + 1:
            raise UnknownOutcome("crm: no answer")

    return fault


LINKS = {
    "record": pl.String,
    "object": pl.String,
    "profile_id": pl.Int64,
    "live": pl.Boolean,
    "dead": pl.Boolean,
    "age": pl.Int64,
}
REDIRECTS = {"old": pl.Int64, "new": pl.Int64}
PROFILE = {
    "profile_id": pl.Int64,
    "email": pl.String,
    "title": pl.String,
    "revenue": pl.Decimal(28, 9),
    "orders": pl.Int64,
    "status": pl.String,
}


@dataclass
class World:
    """Profiles, what identity knows, a destination, and one sync between them."""

    folder: Path
    crm: Crm = field(default_factory=Crm)
    profiles: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    users: list[tuple[str, str]] = field(default_factory=list)
    associated: list[tuple[int, str, str]] = field(default_factory=list)
    redirects: list[dict[str, Any]] = field(default_factory=list)
    pulled: frozenset[str] = frozenset()
    now: datetime = NOW
    run_id: str = "run"

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.lake = Lake(self.folder / "lake", clock=lambda: self.now)
        self.crm.clock = lambda: self.now
        self.store = Store(f"sqlite:///{self.folder}/store.db")
        self.store.migrate()

    def profile(self, profile_id: int, **values: Any) -> None:
        self.profiles = [p for p in self.profiles if p["profile_id"] != profile_id]
        values.setdefault("email", f"p{profile_id}@example.com")
        self.profiles.append({"profile_id": profile_id, **values})

    def link(
        self,
        record_id: str,
        profile_id: int,
        object_name: str = "Contact",
        *,
        live: bool = True,
        dead: bool = False,
        age: int = 0,
        **values: Any,
    ) -> None:
        record = f"crm.{object_name}:{record_id}"
        self.links = [known for known in self.links if known["record"] != record]
        self.links.append(
            {
                "record": record,
                "object": object_name,
                "profile_id": profile_id,
                "live": live,
                "dead": dead,
                "age": age,
            }
        )
        if live:
            self.crm.records.setdefault(object_name, {}).setdefault(record_id, {}).update(values)

    def gather(
        self, lake: Lake, store: Store, name: str, config: SyncConfig, entity: str, now: datetime
    ) -> Inputs:
        rows = [{n: p.get(n) for n in PROFILE} for p in self.profiles]
        profiles = pl.DataFrame(rows, schema=PROFILE).lazy()
        if config.rows == "entered":
            moments = [p.get("entered_at", NOW) for p in self.profiles]
            named = [
                f"{name}-{p['profile_id']}-{m.timestamp():.0f}"
                for p, m in zip(self.profiles, moments, strict=True)
            ]
            profiles = profiles.with_columns(
                entered_at=pl.Series(moments, dtype=pl.Datetime("us", "UTC")),
                entry=pl.Series(named, dtype=pl.String),
            )
        whose = {"profile_id": pl.Int64, "entity": pl.String, "record": pl.String}
        return Inputs(
            profiles=profiles,
            users=pl.DataFrame(
                self.users, schema={"email": pl.String, "record_id": pl.String}, orient="row"
            ).lazy(),
            associated=pl.DataFrame(self.associated, schema=whose, orient="row").lazy(),
            links=pl.DataFrame(self.links, schema=LINKS).lazy(),
            redirects=pl.DataFrame(self.redirects, schema=REDIRECTS).lazy(),
            state=remembered(lake, name, entity),
            sought=lake.open(sought_table(name)).scan().drop("_seq"),
            letters=letters.frame(store, name, entity=entity, states=("open", "released")),
            pulled=self.pulled,
        )

    def plan(self, config: SyncConfig, entity: str = "person") -> Any:
        return plan(
            self.lake, self.store, "s", config, self.crm, DESCRIPTION, self.now, entity=entity,
            gather=self.gather,
        )  # fmt: skip

    def apply(self, config: SyncConfig, *, yes: bool = True, **options: Any) -> ApplyResult:
        """Apply, and with `yes` approve first what waits; ten minutes pass."""
        result = self._apply(config, options)
        if yes and result.message.startswith("Waits for approval"):
            approve(self.store, result.plan, "tester", self.now)
            calls = result.calls
            result = self._apply(config, options)
            result = replace(result, calls=result.calls + calls)
        self.now += timedelta(minutes=10)
        return result

    def _apply(self, config: SyncConfig, options: Mapping[str, Any]) -> ApplyResult:
        where: dict[str, Any] = {"url": "http://127.0.0.1:1", "entity": "person", **options}
        return apply(
            self.lake, self.store, "s", config, self.crm, DESCRIPTION, self.now, self.run_id,
            gather=self.gather, **where,
        )  # fmt: skip

    def state(self) -> pl.DataFrame:
        frame = self.lake.open(state_table("s")).scan().drop("_seq").collect()
        return frame.sort("record")

    def rows(self) -> pl.DataFrame:
        """The rows of the current plan as the lake keeps them."""
        frame = self.lake.open(plan_table("s")).scan().drop("_seq").collect()
        return frame.sort("profile_id", "record", "field")


def config(**options: Any) -> SyncConfig:
    base = {
        "from": "person",
        "to": "crm.Contact",
        "fields": {"Revenue__c": "revenue", "Orders__c": "orders"},
    }
    return SyncConfig.model_validate({**base, **options})
