"""What an outside system must offer to be a source or a destination, and the words they share."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import polars as pl

FieldType = Literal[
    "string", "text", "boolean", "integer", "decimal", "date", "datetime", "enum", "multi_enum",
    "reference", "email", "phone", "url", "other",
]  # fmt: skip
ErrorClass = Literal["retry", "data", "mapping", "permission", "gone", "conflict"]
WriteOp = Literal["create", "update", "upsert", "delete"]
"""`delete` puts a record where its system keeps deleted ones (recycle bin, archive)."""


class FieldInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an outside object as its system describes it."""

    name: str
    type: FieldType
    label: str = ""
    length: int | None = None
    nullable: bool = True
    createable: bool = True
    updateable: bool = True
    unique: bool = False
    external_id: bool = False
    case_sensitive: bool = False
    calculated: bool = False
    filterable: bool = True
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object of an outside system as it describes it."""

    name: str
    label: str = ""
    fields: dict[str, FieldInfo]
    queryable: bool = True
    createable: bool = True


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What an outside system says of its objects; kept as a file under `CDP_HOME`.

    objects: those that were asked for. names: of all objects there are; empty where the system
    was not asked for them. streams: those that make sense to be pulled, where the system tells.
    """

    source: str
    system: str
    taken_at: datetime
    api_version: str = ""
    objects: dict[str, ObjectInfo]
    names: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write `<folder>/<source>.json` atomically, keeping objects and names known before."""
        folder.mkdir(parents=True, exist_ok=True)
        before = Description.load(folder, self.source)
        objects = {**(before.objects if before else {}), **self.objects}
        names = self.names or (before.names if before else ())
        streams = self.streams or (before.streams if before else ())
        merged = msgspec.structs.replace(self, objects=objects, names=names, streams=streams)
        path = folder / f"{self.source}.json"
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(merged), indent=1))
        part.replace(path)

    @classmethod
    def load(cls, folder: Path, source: str) -> Description | None:
        """The stored description of `source`; None where it was never described."""
        path = folder / f"{source}.json"
        if not path.exists():
            return None
        return msgspec.json.decode(path.read_bytes(), type=cls)


@dataclass(frozen=True)
class Relation:
    """A field of an object that points at a record of another object."""

    kind: str
    field: str
    to: str
    primary: bool = True
    prefix: str = ""
    """Only ids that begin with this (Salesforce's `WhoId` holds 003… or 00Q…); "" for all."""


@dataclass(frozen=True)
class Bridge:
    """A connector of the vendors' own that keeps this object and one of another system alike, as
    HubSpot's does with Salesforce.

    source, object: the other side. field: this object's field that holds the other record's id.
    copies: own field → the other side's field, of those that it keeps alike.
    """

    source: str
    object: str
    field: str
    copies: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ObjectMapping:
    """How an outside object reads as a common entity; declared once in each connector's mapping.

    columns: common column → field of the source (see `records` for the common columns).
    identifiers: identifier type (`email`, `phone`, `domain`, `user_id` …) → fields holding it.
    relations: fields that point at other records of the same source.
    """

    entity: str
    columns: Mapping[str, str] = field(default_factory=dict)
    identifiers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()
    fields_at: tuple[str, ...] = ()
    """Path inside the payload under which the fields lie: () for Salesforce,
    ("properties",) for HubSpot."""
    id_field: str = "Id"
    """The field (as `columns` names fields) that is the record's own id."""
    associations_at: tuple[str, ...] = ()
    """Path of HubSpot-shaped associations ({object: {results: [{id, type}]}}); () for none."""
    bridges: tuple[Bridge, ...] = ()
    association_kinds: Mapping[str, str] = field(default_factory=dict)
    """HubSpot object of an association → relation kind (`companies` → `account`)."""


@dataclass(frozen=True)
class Page:
    """One page of pulled records.

    rows: record_id String; cursor_at Datetime[us, UTC], may be null; op String
        (upsert | delete | merge); merged_into String, may be null; payload String (JSON).
    token: the API's own cursor after this page, where it has one.
    volatile: top-level keys of the payload that are no values of the record (links, say): left
        out of its hash.
    upto: where the system vouches for the window up to this moment only; the rest is pulled again.
    gap: what of the window the system cannot tell any more, a sentence; keys that are compared
        later find it.
    """

    rows: pl.DataFrame
    token: str | None = None
    volatile: tuple[str, ...] = ()
    upto: datetime | None = None
    gap: str = ""


PAGE_SCHEMA: Mapping[str, pl.DataType] = {
    "record_id": pl.String(),
    "cursor_at": pl.Datetime("us", "UTC"),
    "op": pl.String(),
    "merged_into": pl.String(),
    "payload": pl.String(),
}
"""Columns of `Page.rows`."""


class Source(Protocol):
    """A system that records are pulled from."""

    name: str

    def mapping(self, object_name: str) -> ObjectMapping | None:
        """How `object_name` reads as a common entity; None for an object kept in raw only."""

    def describe(self, objects: Sequence[str]) -> Description:
        """Ask the system for the fields of these objects."""

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        """Records of the half-open window [start, end) of the object's cursor, page by page,
        in the order (cursor, id) where the system can sort so many; deleted and merged records
        included. Memory stays flat."""

    def has_news(self, object_name: str, after: datetime) -> bool:
        """Whether one record newer than `after` exists; costs one small request."""


@dataclass(frozen=True)
class RowChange:
    """One row to write. `row` is the caller's own number, echoed in the outcome.

    links: (object, record id) of the records that a created one is associated with, as a task is
        with its contact and account.
    """

    row: int
    op: WriteOp
    fields: Mapping[str, Any]
    record_id: str | None = None
    key_field: str | None = None
    key_value: str | None = None
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RowOutcome:
    """What became of one row. `message` holds no value of the row."""

    row: int
    ok: bool
    record_id: str | None = None
    created: bool = False
    error_class: ErrorClass | None = None
    code: str | None = None
    message: str | None = None


class Destination(Protocol):
    """A system that profiles are written to."""

    name: str

    def batch_size(self, object_name: str) -> int:
        """How many rows one `write` may carry."""

    def read(
        self, object_name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """Present values of these records by id; a record that is gone is absent."""

    def find(
        self, object_name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        """Live records whose `field_name` equals each value: value → records, each with `id`."""

    def write(self, object_name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """Send one batch (all of one op), as one call unless the system refuses it whole; one
        outcome a row, in the order given. A row whose own call lost its answer has none.
        Raises where nothing is known of any row (`UnknownOutcome`)."""

    def normalise(self, object_name: str, field_name: str, value: Any) -> Any:
        """`value` in the form in which the system will show it after a write."""


class ListDestination(Protocol):
    """A system that keeps lists of records: HubSpot's static lists, Salesforce's campaigns."""

    members_batch: int
    """How many ids one `change_members` may carry. Where it makes calls for each of them all the
    same, `calls_a_member` says how many; where it makes several for a batch, `calls_for_members`
    (add, remove) does."""

    def list_id(self, name: str) -> str | None:
        """The list of this name; None where there is none. Raises Refused where there are several
        or it is not one that may be changed by hand."""

    def create_list(self, name: str, object_name: str) -> str:
        """Make an empty list of records of this object; returns its id."""

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        """Ids of the records on the list, page by page. Raises Refused where it is gone."""

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        """Put records on the list and take others off. One outcome a record, `row` its place in
        `add` followed by `remove`; one that is there, or off, already is ok."""


class Restorer(Protocol):
    """A system whose API takes deleted records out of the bin."""

    def restorable(self, object_name: str) -> bool:
        """Whether it does so for records of this object."""

    def restore(self, object_name: str, ids: Sequence[str]) -> list[RowOutcome]:
        """Bring these records back; one outcome a record, `row` its place. One that is there
        already is ok."""


class Permitted(Protocol):
    """A system that says what its user may write."""

    def missing_rights(self, object_name: str, ops: Collection[WriteOp]) -> list[str]:
        """What the signed-in user lacks to do this with records of the object, and who gives it, a
        sentence each; nothing where all is open, or where the system does not tell."""


class FieldMaker(Protocol):
    """A system in which fields can be made through its API."""

    def create_field(self, object_name: str, info: FieldInfo) -> None:
        """Make the field, described as written by us. Raises Refused where it is there already."""


class KeyLister(Protocol):
    """A system that can name all its records cheaply.

    `fleeting`, where it has that, holds the names of objects of which many records may end at
    once, as people leave a list: no limit holds for what is found to be gone.
    """

    def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
        """record_id String, cursor_at Datetime[us, UTC] of every live record, page by page."""


class Budgeted(Protocol):
    """A system that says how much of a daily allowance of requests is used."""

    @property
    def budget(self) -> tuple[int, int] | None:
        """(used, allowed) as last told; None before it was."""


class Batching(Protocol):
    """A system where one `write` may take several calls."""

    def calls_for(self, op: WriteOp, rows: int) -> int:
        """How many calls a `write` of so many rows takes, if none has to be repeated."""


class Priced(Protocol):
    """A system in which writing may cost money or room."""

    def cost(self, created: Mapping[str, int], fields: Mapping[str, int]) -> list[str]:
        """What people should know before these many records of each object are created, and these
        many values of each field told; a sentence each, nothing where nothing is at stake."""


class ConnectorError(Exception):
    """An outside system refused or failed. The text names system, request and what to do;
    never a secret and never a value of a record. `retryable`: whether a later run may succeed
    without anybody doing anything; `error_class` is the class of a row's outcome it stands for."""

    retryable = False
    error_class: ErrorClass = "data"


class UnknownOutcome(ConnectorError):
    """A call went out and no answer came: it may or may not have taken effect."""

    retryable = True
    error_class: ErrorClass = "retry"


class Unavailable(ConnectorError):
    """The system did not answer as it should, however often it was asked."""

    retryable = True
    error_class: ErrorClass = "retry"


class BudgetSpent(Unavailable):
    """The system's allowance, or our share of it, is used up for now."""


class NotAuthorised(ConnectorError):
    """The credentials are refused, also after one refresh."""

    error_class: ErrorClass = "permission"


class NotPermitted(ConnectorError):
    """The credentials hold, but this object or action is not open to them."""

    error_class: ErrorClass = "permission"


class Refused(ConnectorError):
    """The request itself was refused (4xx).

    status: HTTP status. codes: the system's own error codes. body: the answer's bytes, for the
    connector alone to read; it is in no text of this error.
    """

    def __init__(
        self, message: str, *, status: int, codes: tuple[str, ...] = (), body: bytes = b""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes
        self.body = body


class WrongObject(ConnectorError):
    """The configuration names an object or field that the system does not show us."""

    error_class: ErrorClass = "mapping"
