"""Records that were told before and whose profile has left the source: what is done about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from cdp_assets.connectors.base import Destination, ObjectInfo
from cdp_assets.connectors.text import text
from cdp_assets.syncs import mapping, policies
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Change, Obstacle, record_id
from cdp_assets.syncs.tables import held, last, settled

TOO_GONE = "the record is gone there; the next pull will tell what became of it"


def left(holdings: pl.LazyFrame, profiles: pl.DataFrame, config: SyncConfig) -> pl.DataFrame:
    """The records of profiles that left, of which something is still to be emptied or deleted.

    holdings: profile_id, record, object, told, created, deleted, `held_<field>`: see `targets`.
    profiles: profile_id of those in the source.

    Returns rows of `holdings` with erase Boolean: delete it, since this sync created it. A record
    that this sync deleted and somebody brought back is left alone.
    """
    if config.gone == "keep":
        return (
            holdings.filter(pl.lit(value=False)).with_columns(erase=pl.lit(value=False)).collect()
        )
    holdings = holdings.with_columns(together(config))
    erase = pl.lit(config.deletes) & pl.col("created").fill_null(value=False)
    full = pl.any_horizontal([pl.col(held(f)).fill_null("") != "" for f in cleared(config)])
    mine = pl.col("object").is_in(list(config.objects)) & pl.col("told").fill_null(value=False)
    return (
        holdings.filter(mine & ~pl.col("deleted").fill_null(value=False))
        .join(profiles.lazy().select("profile_id"), on="profile_id", how="anti")
        .with_columns(erase=erase)
        .filter(pl.col("erase") | full)
        .collect()
    )


def apart(config: SyncConfig) -> list[str]:
    """Fields of which the state keeps what was told beside what was offered."""
    return [n for n, f in config.fields.items() if settled(n, f.write) != last(n)]


def together(config: SyncConfig) -> list[pl.Expr]:
    """`held_<field>` of all other fields."""
    return [pl.col(last(n)).alias(held(n)) for n in config.fields if n not in apart(config)]


def cleared(config: SyncConfig) -> list[str]:
    """The fields that are emptied when a profile leaves: those that a sync goes on telling."""
    return [name for name, field in config.fields.items() if field.write != "on_create"]


def why_left(config: SyncConfig) -> str:
    """Why a record is told, or deleted, though no profile asks for it."""
    if config.audience is not None:
        return f"left audiences.{config.audience}"
    if config.where is not None:
        return "`where` holds no more"
    return f"the {config.from_} is gone"


def deletion(row: Mapping[str, Any], config: SyncConfig) -> Change:
    """The row that deletes a record. row: see `left`."""
    return Change(
        profile_id=row["profile_id"],
        object=row["object"],
        record_id=record_id(row["record"]),
        op="delete",
        sent={},
        told={},
        asked={},
        old={},
        why={"": f"{why_left(config)}: deleted"},
        digest=mapping.digest(config.fingerprint, "delete", {}),
        left=True,
    )


class Clearing:
    """Empties the fields of one record that the sync told, where they still are the sync's own."""

    def __init__(
        self,
        config: SyncConfig,
        destination: Destination,
        info: ObjectInfo | None,
        row: Mapping[str, Any],
        current: Mapping[str, Any],
    ) -> None:
        self._config = config
        self._destination = destination
        self._info = info
        self._row = row
        self._old: dict[str, str | None] = {}
        self._sent: dict[str, Any] = {}
        self._empty: list[str] = []
        self._theirs: list[str] = []
        self._stays: list[str] = []
        for name in cleared(config):
            if row[held(name)]:
                self._field(name, current.get(name))

    def _field(self, name: str, shown: Any) -> None:
        object_name, write = self._row["object"], self._config.fields[name].write
        normal = self._destination.normalise
        present = mapping.present(self._destination, object_name, name, shown)
        found = self._info.fields.get(name) if self._info else None
        empty = normal(object_name, name, None)
        if write == "append":
            have, mine = (
                normal(object_name, name, shown),
                normal(object_name, name, self._told(name)),
            )
            rest = [p for p in policies.parts(have) if p not in policies.parts(mine)]
            empty = normal(object_name, name, policies.joined(have, rest)) if rest else empty
        if present == text(empty):
            self._empty.append(name)
        elif write in ("if_empty", "give_way") and not policies.ours(
            self._destination, object_name, name, self._told(name), present
        ):
            self._theirs.append(name)
        elif empty is None and found is not None and not found.nullable:
            self._stays.append(name)
        else:
            self._old[name], self._sent[name] = present, empty

    def _told(self, name: str) -> str:
        return str(self._row[held(name)])

    @property
    def notes(self) -> dict[str, str | None]:
        """Columns of the state in which nothing is ours any more."""
        mine = [*self._empty, *self._theirs, *self._stays, *self._old]
        policy = self._config.write_policy
        return {last(n): None for n in mine if settled(n, policy(n)) != last(n)}

    @property
    def emptied(self) -> dict[str, str | None]:
        """Fields whose value, told or not, was settled as empty."""
        return dict.fromkeys([*self._empty, *self._stays, *self._old], "")

    def change(self) -> Change | None:
        """The row that empties the fields; None where all are empty, or a person's."""
        if not self._old:
            return None
        told = {name: text(value) for name, value in self._sent.items()}
        return Change(
            profile_id=self._row["profile_id"],
            object=self._row["object"],
            record_id=record_id(self._row["record"]),
            op="update",
            sent=self._sent,
            told=told,
            asked=self.emptied,
            old=self._old,
            why=dict.fromkeys(told, why_left(self._config)),
            digest=mapping.digest(self._config.fingerprint, "update", told),
            left=True,
            notes=self.notes,
        )

    def obstacles(self) -> Iterator[Obstacle]:
        """Fields that keep what they were told, though they should be empty."""
        for name in self._stays:
            yield Obstacle(
                profile_id=self._row["profile_id"],
                object=self._row["object"],
                record=self._row["record"],
                why=f"{why_left(self._config)}; the field cannot be emptied and stays as it is",
                field=name,
            )

    def known(self) -> dict[str, str | None]:
        """What the state notes where nothing is sent."""
        columns = {settled(n, self._config.write_policy(n)): t for n, t in self.emptied.items()}
        return {**columns, **self.notes}
