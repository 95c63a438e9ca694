"""Named properties and traits as columns: JSON text to exact values, never through a float."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cached_property
from typing import Any

import msgspec
import polars as pl
from msgspec import Raw

from cdp_assets.events.model import NO_RAW
from cdp_assets.events.tables import typed_columns, typed_keys, typed_table
from cdp_assets.events.times import read_time
from cdp_assets.lake import Table

TRAITS_PREFIX = "events.traits."
_object = msgspec.json.Decoder(dict[str, Raw])


class Plucker:
    """Takes named members out of JSON objects without decoding the rest.

    names: a member's name, or a path with dots (`address.city`) where no member bears that
    very name.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        heads = sorted({*names, *(n.split(".")[0] for n in names)})
        self._head = {name: f"f{i}" for i, name in enumerate(heads)}
        struct = msgspec.defstruct(
            "Members",
            [(f, Raw, NO_RAW) for f in self._head.values()],
            rename={f: n for n, f in self._head.items()},
            gc=False,
        )
        self._empty = struct()
        self._decode: Callable[[Raw | bytes], Any] = msgspec.json.Decoder(struct).decode

    def pluck(self, objects: Sequence[Raw]) -> dict[str, list[bytes]]:
        """Name → its JSON text in each object; b"" where it is absent, or the object is none."""
        if not self.names:
            return {}
        members = [self._members(raw) for raw in objects]
        texts = {}
        for name in self.names:
            field = self._head[name]
            found = [bytes(getattr(m, field)) for m in members]
            if "." in name:
                head = self._head[name.split(".")[0]]
                path = name.split(".")[1:]
                found = [
                    own or _at(bytes(getattr(m, head)), path)
                    for own, m in zip(found, members, strict=True)
                ]
            texts[name] = found
        return texts

    def _members(self, raw: Raw) -> Any:
        try:
            return self._decode(raw)
        except msgspec.DecodeError:
            return self._empty


def _at(text: bytes, path: Sequence[str]) -> bytes:
    for name in path:
        try:
            text = bytes(_object.decode(text).get(name, NO_RAW)) if text else b""
        except msgspec.DecodeError:
            return b""
    return text


def plain(texts: Sequence[bytes], name: str = "") -> pl.Series:
    """JSON texts as text: a string's content, a number's digits as sent, `true`, a list or
    object as its JSON; null for JSON's null and for nothing."""
    raw = pl.Series(name, [t.decode() if t and t != b"null" else None for t in texts], pl.String)
    quoted = raw.str.starts_with('"')
    if not quoted.any():
        return raw
    bare = raw.str.strip_prefix('"').str.strip_suffix('"')
    bare = bare.zip_with(quoted, raw)
    escaped = quoted & raw.str.contains("\\", literal=True)
    if escaped.any():
        known = {t: msgspec.json.decode(t) for t in raw.filter(escaped).unique().to_list()}
        unescaped = raw.replace_strict(known, default=None, return_dtype=pl.String)
        bare = unescaped.zip_with(escaped.fill_null(False), bare)
    return bare.alias(name)


def to_column(texts: pl.Series, dtype: pl.DataType) -> tuple[pl.Series, pl.Series]:
    """`texts` (String) as `dtype`, and the text of every value that `dtype` does not hold
    exactly (null elsewhere).

    A decimal with more than nine places is rounded half to even, and its text kept; what is no
    number, or too large, is null with its text kept. Nothing turns null or other in silence.
    """
    nothing = texts.clear(len(texts))  # as many nulls
    if dtype == pl.String:
        return texts, nothing
    trimmed = texts.str.strip_chars()
    regular = _REGULAR.get(dtype.base_type())
    fits = (
        trimmed.str.contains(regular)
        if regular
        else pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    ).fill_null(False)
    column = trimmed.zip_with(fits, nothing).cast(dtype)
    odd = texts.is_not_null() & ~fits
    if not odd.any():
        return column, nothing
    known = {t: _read(t, dtype) for t in texts.filter(odd).unique().to_list()}
    found = pl.DataFrame(
        {"text": list(known), "value": [v for v, _ in known.values()],
         "exact": [e for _, e in known.values()]},
        schema={"text": pl.String, "value": dtype, "exact": pl.Boolean},
    )  # fmt: skip
    joined = pl.DataFrame({"text": texts}).join(found, on="text", how="left", maintain_order="left")
    kept = texts.zip_with(odd & ~joined["exact"].fill_null(True), nothing)
    return column.zip_with(~odd, joined["value"]), kept


_REGULAR: Mapping[type[pl.DataType], str] = {
    pl.Decimal: r"^-?[0-9]{1,19}(\.[0-9]{1,9})?$",
    pl.Int64: r"^-?[0-9]{1,18}$",
}


def _read(text: str, dtype: pl.DataType) -> tuple[Any, bool]:
    """(value, whether it is exactly what the text says)."""
    text = text.strip()
    if isinstance(dtype, pl.Decimal):
        return _decimal(text, dtype)
    if dtype == pl.Int64:
        value, exact = _decimal(text, pl.Decimal(38, 0))
        return (int(value), True) if exact and abs(value) < 2**63 else (None, False)
    if dtype == pl.Float64:
        try:
            return float(text), True
        except ValueError:
            return None, False
    if dtype == pl.Boolean:
        known = {"true": True, "false": False}.get(text.lower())
        return known, known is not None
    if dtype.base_type() is pl.Datetime:
        moment = read_time(text)
        return moment, moment is not None
    if dtype == pl.Date:
        moment = read_time(text)
        midnight = moment is not None and moment == datetime.combine(
            moment.date(), datetime.min.time(), moment.tzinfo
        )
        return (moment.date() if moment is not None else None), midnight
    raise TypeError(f"a property cannot be declared as {dtype}")


def _decimal(text: str, dtype: pl.Decimal) -> tuple[Any, bool]:
    places = dtype.scale
    try:
        number = Decimal(text)
        if not number.is_finite() or number.adjusted() >= dtype.precision - places:
            return None, False
        value = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    except InvalidOperation:
        return None, False
    if value.adjusted() >= dtype.precision - places:
        return None, False
    return value, value == number


@dataclass(frozen=True)
class TypedSpec:
    """One typed table: its event, its key, and the properties it holds."""

    event: str
    key: str
    properties: Mapping[str, pl.DataType]

    @cached_property
    def table(self) -> Table:
        return typed_table(self.event, self.key, self.properties)

    @cached_property
    def columns(self) -> dict[str, str]:
        return typed_columns(self.properties)

    @cached_property
    def plucker(self) -> Plucker:
        return Plucker(tuple(self.columns))

    @cached_property
    def digest(self) -> str:
        """What the table is decoded by; another digest asks for decoding it anew."""
        said = [self.key, *(f"{n}\0{c}\0{self.properties[n]}" for n, c in self.columns.items())]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    def decode(self, rows: Sequence[int], objects: Sequence[Raw]) -> pl.DataFrame:
        """The property columns of these `properties` objects, one row each, after `row`."""
        return self.frame(rows, self.plucker.pluck(objects))

    def frame(self, rows: Sequence[int], texts: Mapping[str, Sequence[bytes]]) -> pl.DataFrame:
        """As `decode`, of what the plucker took out."""
        found = {name: plain(texts[name]) for name in self.columns}
        return self.columns_of(pl.Series("row", rows, dtype=pl.Int64), found)

    def columns_of(self, row: pl.Series, texts: Mapping[str, pl.Series]) -> pl.DataFrame:
        """As `decode`, of each property as text."""
        columns = [row]
        for name, column in self.columns.items():
            dtype = self.properties[name]
            value, kept = to_column(texts[name], dtype)
            columns.append(value.alias(column))
            if dtype != pl.String:
                columns.append(kept.alias(f"{column}__str"))
        return pl.DataFrame(columns)


def typed_specs(
    properties: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]],
) -> dict[str, TypedSpec]:
    """Event → its typed table, for the properties that the configuration names."""
    keys = typed_keys(properties)
    return {
        event: TypedSpec(event, keys[event], {n: _instance(t) for n, t in named.items()})
        for event, named in properties.items()
    }


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


class TraitSpec:
    """The identify traits of which values are kept.

    fields: `events.traits.NAME` (NAME may be a path). Raises ValueError for any other field.
    """

    def __init__(self, fields: Iterable[str]) -> None:
        self.fields = tuple(sorted(set(fields)))
        for field in self.fields:
            if not field.startswith(TRAITS_PREFIX) or field == TRAITS_PREFIX:
                raise ValueError(
                    f"{field!r} is not a trait of events; values are kept of fields named "
                    f"{TRAITS_PREFIX}NAME"
                )
        self._names = [field.removeprefix(TRAITS_PREFIX) for field in self.fields]
        self.members = tuple(zip(self._names, self.fields, strict=True))
        self._plucker = Plucker(self._names)
        self.digest = hashlib.sha256("\n".join(self.fields).encode()).hexdigest()

    def decode(
        self, rows: Sequence[int], traits: Sequence[Raw], context_traits: Sequence[Raw]
    ) -> pl.DataFrame:
        """row Int64, field, value of every named trait told in these calls; a trait that stands
        in `traits` counts, else the one under `context.traits`. null takes away, and is a row;
        an absent one is none."""
        return self.frame(rows, self.pluck(traits, context_traits))

    def pluck(self, traits: Sequence[Raw], context_traits: Sequence[Raw]) -> dict[str, list[bytes]]:
        """Field → its JSON text in each call; b"" where it is absent."""
        first, second = self._plucker.pluck(traits), self._plucker.pluck(context_traits)
        return {
            field: [a or b for a, b in zip(first[name], second[name], strict=True)]
            for field, name in zip(self.fields, self._names, strict=True)
        }

    def frame(self, rows: Sequence[int], texts: Mapping[str, Sequence[bytes]]) -> pl.DataFrame:
        """As `decode`, of what `pluck` took out."""
        found = {}
        for field in self.fields if rows else ():
            told = [(row, text) for row, text in zip(rows, texts[field], strict=True) if text]
            found[field] = [row for row, _ in told], plain([text for _, text in told])
        return self.rows_of(found)

    def rows_of(self, told: Mapping[str, tuple[Any, pl.Series]]) -> pl.DataFrame:
        """As `decode`, of each field's rows and their values as text."""
        parts = [pl.DataFrame(schema={"row": pl.Int64, "field": pl.String, "value": pl.String})]
        for field, (rows, values) in told.items():
            parts.append(
                pl.DataFrame(
                    [
                        pl.Series("row", rows, dtype=pl.Int64),
                        pl.repeat(field, len(rows), dtype=pl.String, eager=True).alias("field"),
                        values.alias("value"),
                    ]
                )
            )
        return pl.concat(parts)
