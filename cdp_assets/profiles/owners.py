"""Whose events are whose: the answer of `identity.attribute` for very many events at once.

The ids of events are nearly always sent as they are spelt in the graph, so a number of each id
finds its profile, and no text is compared or kept. What a number cannot tell goes to `attribute`
itself: devices that several people use, where the time decides, and ids in another spelling.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from cdp_assets.identity import attribute, related, rules
from cdp_assets.identity.normalise import as_sent
from cdp_assets.identity.tracks import shared_devices
from cdp_assets.profiles.inputs import GRAPH, LOGINS, Inputs

KEY = "profile_id"
NOBODY, SHARED = -2, -1
"""In place of a profile: a person without an account, and a device of several people."""


@dataclass(frozen=True)
class EventIds:
    """The identifier types that events' user_id and anonymous_id are; None where no rule has
    events as a source of one."""

    user: str | None
    device: str | None


def event_ids(inputs: Inputs) -> EventIds:
    """Which identifier types events carry, by the rules of the last resolution."""
    names = {column: kind.name for column, kind in rules.event_ids(inputs.lake, "person").items()}
    return EventIds(names.get("user_id"), names.get("anonymous_id"))


def told_by(inputs: Inputs, told: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of events/values with `identifier` in the type and spelling that the graph has it in:
    there it stands as the event's column and the id as sent (`user_id:Ada@X.com`)."""
    sent = pl.col("identifier")
    known = sent
    for column, kind in rules.event_ids(inputs.lake, "person").items():
        id_ = sent.str.strip_prefix(f"{column}:")
        spelt = pl.concat_str(pl.lit(f"{kind.name}:"), kind.spelling(id_))
        known = pl.when(sent.str.starts_with(f"{column}:")).then(spelt).otherwise(known)
    return told.with_columns(known.alias("identifier"))


class Owners:
    """The owners of events among the profiles of one entity, as identity knows them now.

    only: profile_id of the profiles that are asked for; all where None.
    """

    def __init__(self, inputs: Inputs, entity: str, only: pl.DataFrame | None = None) -> None:
        self._inputs, self._entity, self._only = inputs, entity, only
        self._ids = event_ids(inputs)
        self._kinds = rules.event_ids(inputs.lake, "person")
        shared = self._shared()
        devices = self._held(self._ids.device).filter(~pl.col("id").is_in(shared.implode()))
        several = pl.LazyFrame({"id": shared}).with_columns(pl.lit(SHARED, pl.Int64).alias("owner"))
        self._users = _Numbered(self._held(self._ids.user), "user")
        self._devices = _Numbered(pl.concat([devices, several]), "device")

    def rows(self, events: pl.LazyFrame, columns: Iterable[str] = ()) -> pl.DataFrame:
        """profile_id and these columns of the events that belong to one of the profiles.

        events: user_id, anonymous_id ("" where absent; null in the result), timestamp, `columns`.
        """
        kept = list(dict.fromkeys(columns))
        user_id, anonymous_id = pl.col("user_id"), pl.col("anonymous_id")
        if self._only is not None:
            events = self._perhaps(events)
        rows = events.with_columns(
            self._users.number(user_id).alias("__user"),
            self._users.check(user_id).alias("__user_is"),
            self._devices.number(anonymous_id).alias("__device"),
            self._devices.check(anonymous_id).alias("__device_is"),
        )
        user = pl.when(pl.col("__user_check") == pl.col("__user_is")).then("__user_owner")
        device = pl.when(pl.col("__device_check") == pl.col("__device_is")).then("__device_owner")
        rows = (
            rows.join(self._users.ids.lazy(), on="__user", how="left")
            .with_columns(user.alias("__user"))
            .join(self._devices.ids.lazy(), on="__device", how="left")
            .with_columns(pl.coalesce("__user", device).alias("__owner"))
        )
        unknown = pl.lit(value=False)
        if self._ids.user is not None:
            unknown = (user_id != "") & pl.col("__user").is_null()
        odd = anonymous_id.str.strip_chars() != anonymous_id
        if self._ids.device is not None and not as_sent(self._ids.device):
            odd = anonymous_id != ""
        clear = rows.filter((pl.col("__owner") >= 0) & ~unknown)
        unclear = rows.filter(
            unknown | (pl.col("__owner") == SHARED) | (pl.col("__owner").is_null() & odd)
        )
        asked = dict.fromkeys(["user_id", "anonymous_id", "timestamp", *kept])
        found, rest = pl.collect_all(
            [
                clear.select(pl.col("__owner").alias(KEY), *map(_or_null, kept)),
                unclear.select(map(_or_null, asked)),
            ],
            engine="streaming",
        )
        if rest.is_empty():
            return found
        return pl.concat([found, self._attributed(rest).select(found.columns)])

    def _shared(self) -> pl.Series:
        """Devices that several people use, by their refused links or their log-ins."""
        if self._ids.device is None:
            return pl.Series(dtype=pl.String)
        prefix = f"{self._ids.device}:"
        linked = shared_devices(self._inputs.lake, "person", self._ids.device)["identifier"]
        used = self._inputs.scan("identity/logins", LOGINS).select("anonymous_id").collect()
        return pl.concat([linked.str.strip_prefix(prefix), used.to_series()]).unique()

    def _held(self, kind: str | None) -> pl.LazyFrame:
        """id, owner of every identifier of a type."""
        if kind is None:
            return pl.LazyFrame(schema={"id": pl.String(), "owner": pl.Int64()})
        name = pl.col("identifier")
        held = (
            self._inputs.scan("identity/graph", GRAPH)
            .filter((pl.col("entity") == "person") & name.str.starts_with(f"{kind}:"))
            .select(name.str.strip_prefix(f"{kind}:").alias("id"), pl.col(KEY).alias("owner"))
        )
        if self._entity != "person":
            theirs = related(self._inputs.lake, "person", self._entity)
            held = held.join(theirs, left_on="owner", right_on="person_id", how="left").select(
                "id", pl.col(f"{self._entity}_id").fill_null(NOBODY).alias("owner")
            )
        if self._only is not None:
            # Somebody else's user id is then as good as unknown, and left to `attribute`: on a
            # device of those that are asked for it is rare.
            held = held.filter(pl.col("owner").is_in(self._only[KEY].implode()))
        return held

    def _perhaps(self, events: pl.LazyFrame) -> pl.LazyFrame:
        """The events that may belong to a profile that is asked for."""
        found = pl.lit(value=False)
        for column, known in (("user_id", self._users), ("anonymous_id", self._devices)):
            kind, sent = self._kinds.get(column), pl.col(column)
            if kind is None:
                continue
            text = sent.str.strip_chars() if as_sent(kind.name) else kind.spelling(sent)
            found |= known.number(text).is_in(known.numbers.implode())
            if kind.name == "user_id":
                # Such as 7.0, which is spelt 7.
                found |= text.str.ends_with("0") & text.str.contains(".", literal=True)
        return events.filter(found).collect(engine="streaming").lazy()

    def _attributed(self, events: pl.DataFrame) -> pl.DataFrame:
        found = attribute(self._inputs.lake, events.lazy()).drop_nulls(KEY)
        if self._entity != "person":
            theirs = related(self._inputs.lake, "person", self._entity)
            found = found.join(theirs, left_on=KEY, right_on="person_id", how="inner").with_columns(
                pl.col(f"{self._entity}_id").alias(KEY)
            )
        if self._only is not None:
            found = found.join(self._only.lazy(), on=KEY, how="semi")
        return found.collect()


def _number(text: pl.Expr, seed: int) -> pl.Expr:
    """64 bits of a text, other bits for each seed."""
    return text.hash(seed).reinterpret(signed=True)


def _or_null(column: str) -> pl.Expr:
    """A column; of an id that is absent, null."""
    if column not in ("user_id", "anonymous_id"):
        return pl.col(column)
    return pl.when(pl.col(column) != "").then(pl.col(column)).alias(column)


class _Numbered:
    """Ids by a number of each, with other bits of it, by which an unknown id of the same number is
    told apart."""

    def __init__(self, held: pl.LazyFrame, name: str) -> None:
        """held: id, owner. Where two ids have one number, other bits are tried: it happens in one
        of a hundred thousand deployments of ten million ids."""
        self._name, self._seed = name, 1
        self.ids = self._by_number(held)
        while self.numbers.n_unique() < self.ids.height:
            self._seed += 2
            held = held.unique("id")
            self.ids = self._by_number(held)

    @property
    def numbers(self) -> pl.Series:
        """The number of each id."""
        return self.ids[f"__{self._name}"]

    def number(self, text: pl.Expr) -> pl.Expr:
        """The number that an id of this text has."""
        return _number(text, self._seed)

    def check(self, text: pl.Expr) -> pl.Expr:
        """The bits by which it is told apart."""
        return _number(text, self._seed + 1)

    def _by_number(self, held: pl.LazyFrame) -> pl.DataFrame:
        return held.select(
            self.number(pl.col("id")).alias(f"__{self._name}"),
            self.check(pl.col("id")).alias(f"__{self._name}_check"),
            pl.col("owner").alias(f"__{self._name}_owner"),
        ).collect()
