"""From the raw versions of records to their present state, relations and values over time.

Everything here is a function of the set of versions, whatever the order they arrived in.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from cdp_assets.connectors.base import Bridge
from cdp_assets.records.bridges import BRIDGED
from cdp_assets.records.config import ObjectSpec
from cdp_assets.records.decode import ASSOCIATIONS, absent, decode
from cdp_assets.records.tables import COMMON, RELATION, TS, VALUES
from cdp_assets.records.tells import observed_runs

_KEY = "record_id"


def read_versions(raw: pl.DataFrame, spec: ObjectSpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Raw rows in the order of their versions, payloads decoded.

    raw: rows of the object's raw table.

    Order: the source's own time (of extraction, where it gives none), then extraction, then
    deletions after changes, then the payload's hash: arrival decides nothing. Returns the
    versions (record_id, at, extracted_at, op, merged_into, the fields and whether each is
    absent) and the raw rows whose payload is no JSON object.
    """
    fields, unreadable = decode(
        raw["payload"],
        spec.read_fields,
        fields_at=spec.mapping.fields_at,
        associations_at=spec.mapping.associations_at,
    )
    versions = pl.concat(
        [
            raw.select(_KEY, "cursor_at", "extracted_at", "op", "merged_into", "payload_hash"),
            fields,
        ],
        how="horizontal",
    ).with_columns(at=pl.coalesce("cursor_at", "extracted_at"))
    refused = raw[unreadable]
    if unreadable:
        lost = pl.int_range(pl.len()).is_in(unreadable) & (pl.col("op") == "upsert")
        versions = versions.filter(~lost)
    versions = versions.sort(
        _KEY, "at", "extracted_at", pl.col("op") != "upsert", "payload_hash", "merged_into",
        nulls_last=True,
    )  # fmt: skip
    # A deletion says nothing of the fields: what it carries is what was there before.
    gone = pl.col("op") != "upsert"
    names = [*spec.read_fields, *([ASSOCIATIONS] if spec.mapping.associations_at else [])]
    return versions.with_columns(
        (pl.col(absent(n)) | gone).alias(absent(n)) for n in names
    ), refused


def latest(versions: pl.DataFrame, spec: ObjectSpec) -> pl.DataFrame:
    """One row a record: its last version, each field as last seen (an absent field keeps its
    value), whether it is gone and what took its place.

    versions: as `read_versions` gives them.
    """
    names = [*spec.read_fields, *([ASSOCIATIONS] if spec.mapping.associations_at else [])]
    single = pl.col(_KEY).is_duplicated().not_()
    one = versions.filter(single).with_columns(
        pl.when(~pl.col(absent(name))).then(pl.col(name)).alias(name) for name in names
    )
    many = (
        versions.filter(~single)
        .group_by(_KEY, maintain_order=True)
        .agg(
            pl.col("at", "extracted_at", "op", "merged_into").last(),
            *(pl.col(name).filter(~pl.col(absent(name))).last() for name in names),
        )
    )
    columns = [_KEY, "at", "extracted_at", "op", "merged_into", *names]
    return pl.concat([one.select(columns), many.select(columns)])


def entity_rows(state: pl.DataFrame, spec: ObjectSpec) -> pl.DataFrame:
    """Rows of records/<entity> from `latest`."""
    mapping = spec.mapping
    deleted = pl.col("op") != "upsert"
    successor: pl.Expr = pl.when(pl.col("op") == "merge").then(
        pl.lit(f"{spec.name}:") + pl.col("merged_into")
    )
    for relation in mapping.relations:
        if relation.kind == "converted":
            to = _target(spec, relation.field, relation.to, relation.prefix)
            successor = pl.coalesce(successor, to)
    columns = {
        name: _field(spec, mapping.columns[name])
        if name in mapping.columns
        else pl.lit(None, pl.String)
        for name in (*COMMON, *own_columns(spec))
    }
    if "name" not in mapping.columns:
        parts = [columns["first_name"], columns["last_name"]]
        whole = pl.concat_str(parts, separator=" ", ignore_nulls=True)
        columns["name"] = pl.when(whole != "").then(whole)
    created = mapping.columns.get("created_at")
    return state.select(
        source=pl.lit(spec.source),
        object=pl.lit(spec.object),
        record_id=pl.col(_KEY),
        record=pl.lit(f"{spec.name}:") + pl.col(_KEY),
        **columns,
        created_at=parse_time(pl.col(created)) if created else pl.lit(None, TS),
        changed_at=pl.col("at"),
        deleted=deleted,
        merged_into=successor,
        extracted_at=pl.col("extracted_at"),
    )


def own_columns(spec: ObjectSpec) -> tuple[str, ...]:
    """Names that the mapping gives beyond the common ones."""
    return tuple(sorted({*spec.mapping.columns} - {*COMMON, "created_at", "changed_at"}))


def _field(spec: ObjectSpec, field: str) -> pl.Expr:
    return pl.col(_KEY) if field == spec.mapping.id_field else pl.col(field)


def _target(spec: ObjectSpec, field: str, to: str, prefix: str) -> pl.Expr:
    value = pl.col(field)
    pointed = value.is_not_null() & (value.str.starts_with(prefix) if prefix else pl.lit(True))
    return pl.when(pointed).then(pl.lit(f"{spec.source}.{to}:") + value)


def _other_side(bridge: Bridge) -> pl.Expr:
    value = pl.col(bridge.field).str.strip_chars()
    known = value.is_not_null() & (value != "")
    return pl.when(known).then(pl.lit(f"{bridge.source}.{bridge.object}:") + value)


def relation_rows(state: pl.DataFrame, spec: ObjectSpec) -> pl.DataFrame:
    """Rows of records/relation from `latest`: what live records point at, and what took the place
    of merged ones. Several fields that point alike are one row; a primary one wins."""
    record = pl.lit(f"{spec.name}:") + pl.col(_KEY)
    live = state.filter(pl.col("op") == "upsert")
    parts = [
        state.filter(pl.col("op") == "merge").select(
            pl.lit("merged").alias("kind"),
            record.alias("from"),
            (pl.lit(f"{spec.name}:") + pl.col("merged_into")).alias("to"),
            label=pl.lit("merged"),
            primary=pl.lit(True),
        )
    ]
    parts += [
        live.select(
            pl.lit(relation.kind).alias("kind"),
            record.alias("from"),
            _target(spec, relation.field, relation.to, relation.prefix).alias("to"),
            label=pl.lit(relation.field),
            primary=pl.lit(relation.primary),
        )
        for relation in spec.mapping.relations
    ]
    parts += [
        live.select(
            pl.lit(BRIDGED).alias("kind"),
            record.alias("from"),
            _other_side(bridge).alias("to"),
            label=pl.lit(bridge.field),
            primary=pl.lit(True),
        )
        for bridge in spec.mapping.bridges
    ]
    if spec.mapping.associations_at:
        parts.append(_associations(live, spec))
    return (
        pl.concat(parts)
        .filter(pl.col("to").is_not_null())
        .sort(
            "from", "kind", "to", "primary", "label", descending=[False, False, False, True, False]
        )
        .unique(["from", "kind", "to"], keep="first", maintain_order=True)
        .with_columns(source=pl.lit(spec.source))
        .select(RELATION.schema.keys())
    )


class _Link(msgspec.Struct):
    id: str | int
    type: str = ""
    label: str | None = None


class _Links(msgspec.Struct):
    results: list[_Link] = []


_links = msgspec.json.Decoder(dict[str, _Links])


def _associations(live: pl.DataFrame, spec: ObjectSpec) -> pl.DataFrame:
    """HubSpot-shaped associations as relations. A type ending in `_unlabeled` stands beside a
    labelled one (the primary company is `contact_to_company`); without any labelled one, the
    first of its kind counts as primary. Labels that people gave are the relation's label
    (`Decision maker; Payer`); without one it is the type."""
    kinds = spec.mapping.association_kinds
    rows: list[tuple[str, str, str, str, bool]] = []
    known = live.select(_KEY, ASSOCIATIONS).filter(pl.col(ASSOCIATIONS).is_not_null())
    for record_id, text in known.iter_rows():
        for other, links in _read_links(text).items():
            kind = kinds.get(other)
            if kind is None:
                continue
            named = [link for link in links.results if not link.type.endswith("_unlabeled")]
            first = [link for link in named if not _given(link)]
            main = str((first or named or links.results)[0].id) if links.results else None
            given: dict[str, list[str]] = {}
            for link in links.results:
                given.setdefault(str(link.id), []).extend(_given(link))
            rows += [
                (kind, f"{spec.name}:{record_id}", f"{spec.source}.{other}:{link.id}",
                 "; ".join(given[str(link.id)]) or link.type, str(link.id) == main)
                for link in links.results
            ]  # fmt: skip
    schema = {
        "kind": pl.String,
        "from": pl.String,
        "to": pl.String,
        "label": pl.String,
        "primary": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _given(link: _Link) -> list[str]:
    """The label that people gave; HubSpot's own for the first company is none."""
    return [link.label] if link.label and not link.label.startswith("Primary") else []


def _read_links(text: str) -> Mapping[str, _Links]:
    try:
        return _links.decode(text)
    except msgspec.ValidationError:
        return {}


def value_rows(versions: pl.DataFrame, told: pl.DataFrame, spec: ObjectSpec) -> pl.DataFrame:
    """Rows of records/values: the runs of equal values of each kept field.

    versions: as `read_versions` gives them. told: record_id, field, told_at, value, across, of
    what these records were told. A record's field that was never filled has no row; an emptied
    one has a row with null.
    """
    parts = [
        versions.filter(~pl.col(absent(field))).select(
            _KEY, "at", "extracted_at", field=pl.lit(field), value=pl.col(field)
        )
        for field in spec.kept_fields
    ]
    if not parts:
        return pl.DataFrame(schema=dict(VALUES.schema))
    seen = pl.concat(parts)
    runs = observed_runs(seen, told)
    gone = versions.group_by(_KEY).agg(live=pl.col("op").last() == "upsert")
    return runs.join(gone, on=_KEY, how="left").select(
        entity=pl.lit(spec.entity),
        source=pl.lit(spec.source),
        object=pl.lit(spec.object),
        record_id=pl.col(_KEY),
        record=pl.lit(f"{spec.name}:") + pl.col(_KEY),
        field=pl.lit(f"{spec.name}.") + pl.col("field"),
        value=pl.col("value"),
        changed_at=pl.col("at"),
        extracted_at=pl.col("extracted_at"),
        current=pl.col("last") & pl.col("live"),
    )


def parse_time(text: pl.Expr) -> pl.Expr:
    """A source's time as a moment in UTC: ISO 8601 with or without zone (UTC then), a bare date
    (its first moment), or milliseconds since 1970. Null for anything else."""
    iso = text.str.replace(r"[zZ]$", "+0000")
    zoned = iso.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False
    )
    naive = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    epoch = pl.from_epoch(
        pl.when(text.str.contains(r"^\d{12,14}$")).then(text.cast(pl.Int64, strict=False)), "ms"
    ).cast(pl.Datetime("us"))
    return pl.coalesce(zoned.cast(TS), pl.coalesce(naive, day, epoch).dt.replace_time_zone("UTC"))
