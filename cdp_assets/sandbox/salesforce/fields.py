"""The words that describe an org's objects: fields and objects, and short ways to write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

COMPOUND = frozenset({"address", "location"})
"""Types that show other fields once more."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field. type: Salesforce's own word for it, as describe says it."""

    name: str
    type: str
    label: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    createable: bool = True
    updateable: bool = True
    nillable: bool = True
    options: tuple[str, ...] = ()
    restricted: bool = False
    references: tuple[str, ...] = ()
    relationship: str | None = None
    external_id: bool = False
    unique: bool = False
    id_lookup: bool = False
    filterable: bool = True
    name_field: bool = False
    compound: str | None = None
    default: object = None
    formula: tuple[str, str] | None = None
    """Of a formula: the reference, and the field of the record it points at. A change there moves
    no stamp here."""
    parts: tuple[tuple[str, str], ...] = ()
    """Of an address or a location: its keys, and the fields that hold them."""

    @property
    def custom(self) -> bool:
        """Whether the administrator added it."""
        return self.name.endswith("__c")


@dataclass(frozen=True, kw_only=True)
class SObject:
    """One object."""

    name: str
    label: str
    plural: str
    prefix: str
    fields: tuple[Field, ...]
    writable: bool = True
    mergeable: bool = False
    once: tuple[str, ...] = ()
    """Fields of which no two records may hold the same."""
    bulk: bool = True
    """Whether Bulk API 2.0 takes it."""

    @property
    def custom(self) -> bool:
        """Whether the administrator added it."""
        return self.name.endswith("__c")

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Lower-case field name → field: Salesforce's names know no case."""
        return {f.name.lower(): f for f in self.fields}

    @cached_property
    def by_relationship(self) -> dict[str, Field]:
        """Lower-case relationship name (`account`, `account__r`) → reference field."""
        return {f.relationship.lower(): f for f in self.fields if f.relationship}

    @cached_property
    def required(self) -> tuple[Field, ...]:
        """Fields that a new record must bring."""
        return tuple(f for f in self.fields if f.required)


def text(name: str, label: str, length: int = 255, **more: object) -> Field:
    return Field(name=name, type="string", label=label, length=length, **more)  # type: ignore[arg-type]


def pick(name: str, label: str, options: Iterable[str], length: int = 255, **more: object) -> Field:
    return Field(
        name=name, type="picklist", label=label, length=length, options=tuple(options),
        restricted=name.endswith("__c"), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def number(name: str, label: str, kind: str = "double", scale: int = 0, **more: object) -> Field:
    return Field(name=name, type=kind, label=label, precision=18, scale=scale, **more)  # type: ignore[arg-type]


def link(name: str, label: str, to: str, relationship: str | None, **more: object) -> Field:
    return Field(
        name=name, type="reference", label=label, length=18, references=tuple(to.split()),
        relationship=relationship, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def of(kind: str, name: str, label: str, length: int = 0, **more: object) -> Field:
    return Field(name=name, type=kind, label=label, length=length, **more)  # type: ignore[arg-type]


def stamp(name: str, label: str) -> Field:
    return Field(
        name=name, type="datetime", label=label, createable=False, updateable=False, nillable=False
    )


def who(name: str, label: str, relationship: str) -> Field:
    return link(
        name, label, "User", relationship, createable=False, updateable=False, nillable=False
    )


def address(prefix: str, label: str) -> tuple[Field, ...]:
    """An address and the fields it is made of."""
    name = f"{prefix}Address"
    keys = (
        ("street", "Street"), ("city", "City"), ("state", "State"),
        ("postalCode", "PostalCode"), ("country", "Country"),
    )  # fmt: skip
    return (
        Field(
            name=name, type="address", label=f"{label} Address".strip(), createable=False,
            updateable=False, parts=tuple((key, prefix + part) for key, part in keys),
        ),
        of("textarea", f"{prefix}Street", f"{label} Street".strip(), 255, compound=name),
        text(f"{prefix}City", f"{label} City".strip(), 40, compound=name),
        text(f"{prefix}State", f"{label} State".strip(), 80, compound=name),
        text(f"{prefix}PostalCode", f"{label} Zip".strip(), 20, compound=name),
        text(f"{prefix}Country", f"{label} Country".strip(), 80, compound=name),
    )  # fmt: skip


def location(name: str, label: str) -> tuple[Field, ...]:
    """A place on the globe and the two fields it is made of."""
    stem = name.removesuffix("__c")
    parts = (("latitude", f"{stem}__Latitude__s"), ("longitude", f"{stem}__Longitude__s"))
    return (
        Field(
            name=name, type="location", label=label, createable=False, updateable=False,
            parts=parts,
        ),
        *(
            Field(
                name=part, type="double", label=f"{label} ({key.title()})", precision=18,
                scale=15, compound=name,
            )
            for key, part in parts
        ),
    )  # fmt: skip


ID = Field(
    name="Id", type="id", label="Record ID", length=18, createable=False, updateable=False,
    nillable=False, id_lookup=True,
)  # fmt: skip
DELETED = Field(
    name="IsDeleted", type="boolean", label="Deleted", createable=False, updateable=False,
    nillable=False, default=False,
)  # fmt: skip
OWNER = link("OwnerId", "Owner ID", "User", "Owner", nillable=False)
SYSTEM = (
    stamp("CreatedDate", "Created Date"),
    who("CreatedById", "Created By ID", "CreatedBy"),
    stamp("LastModifiedDate", "Last Modified Date"),
    who("LastModifiedById", "Last Modified By ID", "LastModifiedBy"),
    stamp("SystemModstamp", "System Modstamp"),
)


def computed_name(length: int = 121) -> Field:
    return text(
        "Name", "Full Name", length, createable=False, updateable=False, nillable=False,
        name_field=True,
    )  # fmt: skip


def master(name: str) -> Field:
    return link(
        "MasterRecordId", "Master Record ID", name, "MasterRecord", createable=False,
        updateable=False,
    )  # fmt: skip
