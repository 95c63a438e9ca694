"""Values that stand for a record of the outside system: its owner by e-mail, a record by a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from cdp_assets.connectors.base import Destination
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.mapping import FieldError, want

_CHUNK = 1000


class Lookups:
    """Ids of records, by the texts that fields with `owner` or `lookup` have.

    users: email, record_id of the system's users, as records/user has them.
    """

    def __init__(self, config: SyncConfig, destination: Destination, users: pl.LazyFrame) -> None:
        self._config = config
        self._destination = destination
        self._found: dict[str, dict[str, list[str]]] = defaultdict(dict)
        self._users: Mapping[str, list[str]] | None = None
        self._frame = users

    def prepare(self, names: Iterable[str], rows: pl.DataFrame) -> None:
        """Ask the destination for the values of these rows that were not asked for yet.

        rows: `want_<field>` of the fields. Owners are looked up in the lake.
        """
        for name in names:
            place = self._config.fields[name].lookup
            if place is None:
                continue
            texts = {str(v) for v in rows[want(name)].drop_nulls() if v}
            object_name, _, field_name = place.partition(".")
            known = self._found[place]
            missing = sorted(texts - known.keys())
            for at in range(0, len(missing), _CHUNK):
                chunk = missing[at : at + _CHUNK]
                hits = self._destination.find(object_name, field_name, chunk, [])
                for value in chunk:
                    known[value] = sorted({str(r["id"]) for r in hits.get(value, [])})

    def id_of(self, name: str, said: str) -> str:
        """The one record that a field's text stands for. Raises FieldError where there is none or
        several; the text never holds the value."""
        field = self._config.fields[name]
        if field.lookup is not None:
            return _one(name, self._found[field.lookup].get(said, []), field.lookup)
        if self._users is None:
            found: dict[str, list[str]] = defaultdict(list)
            for email, record in self._frame.collect().iter_rows():
                found[email.strip().casefold()].append(record)
            self._users = found
        records = self._users.get(said.strip().casefold(), [])
        return _one(name, sorted(set(records)), "e-mail of its users")


def _one(name: str, records: Collection[str], place: str) -> str:
    if len(records) == 1:
        return next(iter(records))
    what = "no record has" if not records else f"{len(records)} records have"
    raise FieldError(f"{name}: {what} this {place}")
