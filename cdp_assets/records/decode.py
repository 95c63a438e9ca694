"""Payloads to columns: one pass over a batch of JSON texts, only the fields that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec
import polars as pl
from msgspec import UNSET

from cdp_assets.connectors.text import text

ASSOCIATIONS = "\0associations"
"""The column that holds associations, as JSON text; no field can have this name."""


def absent(field: str) -> str:
    """The name of the column that says in which payloads `field` is missing."""
    return f"\0absent:{field}"


def decode(
    payloads: pl.Series,
    fields: Sequence[str],
    *,
    fields_at: Sequence[str] = (),
    associations_at: Sequence[str] = (),
) -> tuple[pl.DataFrame, list[int]]:
    """The named fields of JSON payloads as text.

    payloads: String, JSON objects; null reads as an object without fields.
    fields: names below the path `fields_at`.

    Returns a frame with, for each field, its canonical text (String: numbers without exponent
    and without trailing zeros, `true`, lists and objects as compact JSON; blank text and JSON's
    null are null) and `absent(field)` Boolean; and the rows that are no JSON object, all of whose
    fields are absent.
    """
    bodies = payloads.to_list()
    decoder, readers = _decoder(tuple(fields), tuple(fields_at), tuple(associations_at))
    empty = decoder.decode(b"{}")
    rows: list[Any] = []
    unreadable: list[int] = []
    for position, body in enumerate(bodies):
        try:
            rows.append(decoder.decode(body) if body else empty)
        except (msgspec.DecodeError, UnicodeEncodeError):
            unreadable.append(position)
            rows.append(empty)
    columns: dict[str, pl.Series] = {}
    for field, read in readers:
        values = [read(row) for row in rows]
        missing = [value is UNSET for value in values]
        columns[field] = pl.Series(
            field,
            [v if v.__class__ is str else None if v is UNSET else text(v) for v in values],
            dtype=pl.String,
        )
        columns[absent(field)] = pl.Series(absent(field), missing, dtype=pl.Boolean)
    frame = pl.DataFrame(columns or None, height=len(bodies))
    blank = pl.col([field for field, _ in readers])
    if readers:
        frame = frame.with_columns(pl.when(blank.str.strip_chars() != "").then(blank).name.keep())
    return frame, unreadable


def _decoder(
    fields: tuple[str, ...], fields_at: tuple[str, ...], associations_at: tuple[str, ...]
) -> tuple[Any, list[tuple[str, Any]]]:
    """A decoder for just these members, and how each is read from what it gives."""
    tree: dict[str, Any] = {}
    wanted = [(field, (*fields_at, field)) for field in fields]
    if associations_at:
        wanted.append((ASSOCIATIONS, associations_at))
    for _, path in wanted:
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node.setdefault(path[-1], None)
    kind, attributes = _struct(tree)
    readers = []
    for field, path in wanted:
        names, node = [], attributes
        for part in path:
            name, node = node[part]
            names.append(name)
        readers.append((field, _reader(names)))
    return msgspec.json.Decoder(kind, float_hook=Decimal), readers


def _reader(names: list[str]) -> Any:
    if len(names) == 1:
        return attrgetter(names[0])

    def read(row: Any) -> Any:
        for name in names:
            if row is UNSET or row is None:
                return UNSET
            row = getattr(row, name)
        return row

    return read


def _struct(tree: dict[str, Any]) -> tuple[Any, dict[str, tuple[str, Any]]]:
    members: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    attributes: dict[str, tuple[str, Any]] = {}
    for number, (key, below) in enumerate(tree.items()):
        name = f"f{number}"
        rename[name] = key
        if below:
            kind, inner = _struct(below)
            members.append((name, kind | None | msgspec.UnsetType, UNSET))
            attributes[key] = (name, inner)
        else:
            members.append((name, Any, UNSET))
            attributes[key] = (name, {})
    return msgspec.defstruct("Members", members, rename=rename, gc=False), attributes
