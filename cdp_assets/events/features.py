"""Which product features are used, by whom, on which day: events and pages mapped to features."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from cdp_assets.events.tables import EVENTS, TS, by_people
from cdp_assets.lake import Lake, Table

USED: Final = "Feature Used"
"""The event by which the snippet tells of a use: its property `feature` is the feature's name."""
_PATHS: Final = ("page", "screen")
RULES: Final = "rules"
"""Watermark that counts how often the table was built anew; one below it is each map's own."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class FeatureConfig(_Model):
    """What counts as a use of a feature."""

    events: Sequence[str] = Field(
        default=(), description="Track events that are a use of it, beside those whose tracking "
        "plan says so (`feature:`)."
    )  # fmt: skip
    pages: Sequence[str] = Field(
        default=(),
        description="Paths of pages whose view is a use of it: `/reports/**`. `*` stands for any "
        "text without a slash, `**` for any text. With `https://` the pattern is of the whole "
        "address without its query.",
    )
    label: str | None = Field(default=None, description="Its name for people.")
    owner: str | None = Field(default=None, description="Who answers for it.")
    description: str | None = Field(default=None, description="What it does, for people.")

    @field_validator("pages")
    @classmethod
    def _paths(cls, pages: Sequence[str]) -> Sequence[str]:
        for page in pages:
            if not page.startswith(("/", "*", "http://", "https://")):
                raise ValueError(f"{page!r} is no path: begin it with / or https://")
        return pages


class FeaturesConfig(_Model):
    """The features of a product, and which events and pages are uses of them."""

    features: Mapping[str, FeatureConfig] = Field(
        default_factory=dict, description="Name of a feature → what counts as a use of it."
    )
    unused_after: int = Field(
        default=90,
        ge=1,
        description="Days without a use after which a feature is named as one to drop.",
    )


@dataclass(frozen=True)
class FeatureMap:
    """events: event → its features. pages: (pattern, feature). names: those declared."""

    events: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pages: Sequence[tuple[str, str]] = ()
    names: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """What uses are found by: another digest asks for finding them anew."""
        said = repr((sorted((e, sorted(f)) for e, f in self.events.items()), sorted(self.pages)))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def feature_map(config: FeaturesConfig, planned: Iterable[tuple[str, str]] = ()) -> FeatureMap:
    """The map of a deployment. planned: (event, feature) of its tracking plans."""
    events: dict[str, set[str]] = {}
    for event, feature in planned:
        events.setdefault(event, set()).add(feature)
    names = {feature for features in events.values() for feature in features}
    pages: list[tuple[str, str]] = []
    for feature, said in config.features.items():
        names.add(feature)
        for event in said.events:
            events.setdefault(event, set()).add(feature)
        pages += [(pattern, feature) for pattern in said.pages]
    return FeatureMap({e: sorted(f) for e, f in sorted(events.items())}, pages, sorted(names))


FEATURES = Table(
    key="events/features",
    description="How often each feature was used on a UTC day, by user and device. Whose they are "
    "is found on reading, so that what identity learns later holds.",
    schema={
        "feature": pl.String(),
        "source": pl.String(),
        "day": pl.Date(),
        "user_id": pl.String(),
        "anonymous_id": pl.String(),
        "uses": pl.Int64(),
        "first_at": TS,
        "last_at": TS,
        "rules": pl.String(),
    },
    primary_key=("feature", "source", "day", "user_id", "anonymous_id"),
    personal=("user_id", "anonymous_id"),
    column_docs={
        "user_id": "Empty where the event named no user.",
        "anonymous_id": "Empty where the event named no device.",
        "uses": "Events and page views that are uses of the feature.",
        "rules": "Digest of the map that they were found by.",
    },
)
_KEY = FEATURES.primary_key


def build_features(lake: Lake, found_by: FeatureMap) -> int:
    """Bring events/features up to table events; all of it where the map changed. Returns how many
    rows changed."""
    table, events = lake.open(FEATURES), lake.open(EVENTS)
    with lake.step(FEATURES.key):
        upto = events.seq()
        # which map the table was last built anew by: the one whose mark is as high as RULES
        rules, build = f"{RULES}/{found_by.digest}", table.watermark(RULES)
        after = table.watermark(EVENTS.key) if build and table.watermark(rules) == build else 0
        if upto <= after:
            return 0
        uses = _uses(events.changes(after, upto=upto).filter(by_people()), found_by)
        new = uses.with_columns(pl.lit(found_by.digest).alias("rules"))
        marks = {EVENTS.key: upto}
        if not after:
            marks |= {RULES: build + 1, rules: build + 1}
            known = table.scan().select("feature").collect()
            scope = pl.concat([known, new.select("feature")]).unique()
            done = table.replace(new, scope=scope, watermarks=marks)
            return done.inserted + done.updated + done.deleted
        old = table.scan().drop("_seq").join(new.lazy(), on=_KEY, how="semi").collect()
        done = table.merge(_summed(pl.concat([old, new.select(old.columns)])), watermarks=marks)
        return done.inserted + done.updated


def _uses(events: pl.LazyFrame, found_by: FeatureMap) -> pl.DataFrame:
    track = pl.col("type") == "track"
    address = pl.col("page_url").str.replace(r"[?#].*$", "")
    features = [
        pl.when(track & (pl.col("event") == event))
        .then(pl.lit(list(names), dtype=pl.List(pl.String)))
        .otherwise(pl.lit([], dtype=pl.List(pl.String)))
        for event, names in found_by.events.items()
    ]
    viewed = pl.col("type").is_in(_PATHS)
    for pattern, feature in found_by.pages:
        at = address if "://" in pattern else pl.col("page_path")
        features.append(
            pl.when(viewed & at.str.contains(expression(pattern)).fill_null(False))
            .then(pl.lit([feature], dtype=pl.List(pl.String)))
            .otherwise(pl.lit([], dtype=pl.List(pl.String)))
        )
    named = pl.when(track & (pl.col("event") == USED)).then(
        pl.col("payload").str.json_path_match("$.properties.feature")
    )
    features.append(pl.concat_list(named).list.drop_nulls())
    wanted = (track & pl.col("event").is_in([*found_by.events, USED])) | (
        viewed if found_by.pages else pl.lit(False)
    )
    rows = (
        events.filter(wanted)
        .with_columns(pl.concat_list(features).list.unique().alias("feature"))
        .explode("feature")
        .filter(pl.col("feature").is_not_null() & (pl.col("feature") != ""))
        .select(
            "feature",
            "source",
            pl.col("timestamp").dt.date().alias("day"),
            pl.col("user_id").fill_null(""),
            pl.col("anonymous_id").fill_null(""),
            pl.lit(1, pl.Int64).alias("uses"),
            pl.col("timestamp").alias("first_at"),
            pl.col("timestamp").alias("last_at"),
            pl.lit("").alias("rules"),
        )
        .collect()
    )
    return _summed(rows)


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by(_KEY).agg(
        pl.col("uses").sum(),
        pl.col("first_at").min(),
        pl.col("last_at").max(),
        pl.col("rules").last(),
    )


def expression(pattern: str) -> str:
    """A pattern of paths as a regular expression."""
    parts = re.split(r"(\*\*|\*)", pattern)
    stands = {"**": ".*", "*": "[^/]*"}
    text = "".join(stands.get(part) or re.escape(part) for part in parts)
    # /reports/** is /reports too
    text = text.removesuffix("/.*") + "(/.*)?" if text.endswith("/.*") else text
    return f"^{text}/?$"


@dataclass(frozen=True)
class Use:
    """A feature in figures over some days. people: profiles, and devices of nobody known. days: on
    which it was used. first, last: when it was used at all, ever."""

    feature: str
    uses: int
    people: int
    days: int
    first: datetime | None
    last: datetime | None

    def idle(self, today: date, after: int) -> bool:
        """Whether it was not used for so many days."""
        return self.last is None or (today - self.last.date()).days >= after


def in_figures(owned: pl.DataFrame, names: Iterable[str], since: date) -> list[Use]:
    """Each feature's use, the most used first; features without any last.

    owned: the rows of table events/features with `person` String: whose each row is. since: the
    day from which on uses, people and days are counted.
    """
    recent = owned.filter(pl.col("day") >= since)
    figures = {
        row[0]: row[1:]
        for row in recent.group_by("feature")
        .agg(pl.col("uses").sum(), pl.col("person").n_unique(), pl.col("day").n_unique())
        .iter_rows()
    }
    ever = {
        row[0]: row[1:]
        for row in owned.group_by("feature")
        .agg(pl.col("first_at").min(), pl.col("last_at").max())
        .iter_rows()
    }
    found = [
        Use(name, *figures.get(name, (0, 0, 0)), *ever.get(name, (None, None)))
        for name in sorted({*names, *ever})
    ]
    return sorted(found, key=lambda use: (-use.people, -use.uses, use.feature))
