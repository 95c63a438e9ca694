"""Where a visit came from, as one event tells it: campaign, click id, referrer. Frames in, frames
out.

A campaign is what `context.campaign` or the query of the page's address says (utm_*; names of
parameters whatever their case, values compared in small letters, kept as they came), or a click
id. A referrer of one's own site or of a declared domain is none, and makes a campaign in that link
none too; one of a payment provider (or other ignored domain) is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

import numpy as np
import numpy.typing as npt
import polars as pl

from cdp_assets.events.distinct import coded, mapped
from cdp_assets.events.hosts import HOST, is_webmail, kind_of, short_name, site, within
from cdp_assets.sessions.channels import CLICK_IDS, CLICK_MEDIUMS, CLICK_SOURCES, channel

Flags = npt.NDArray[np.bool_]

UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_SENT = {
    "utm_source": "campaign_source",
    "utm_medium": "campaign_medium",
    "utm_campaign": "campaign_name",
}
_SIGNS = ("utm_", *CLICK_IDS)


@dataclass(frozen=True)
class Own:
    """Domains that bring nobody. own: internal; ignored: payment providers and the like."""

    own: Sequence[str] = ()
    ignored: Sequence[str] = ()


def host(column: str) -> pl.Expr:
    """The host of an address, in small letters; null where it is none."""
    return pl.col(column).str.extract(HOST, 1).str.to_lowercase()


def referrers(events: pl.DataFrame, own: Own) -> tuple[Flags, Flags]:
    """Of each event, in its order: whether it came from a page of one's own, and whether it came
    from a site that may have brought somebody.

    events: page_url, referrer String.
    """
    (page, pages), (sent, sender) = (coded(events[name]) for name in ("page_url", "referrer"))
    page_hosts, hosts = (
        texts.to_frame("url").select(host("url")).to_series() for texts in (pages, sender)
    )
    both, _ = coded(
        pl.concat([mapped(page_hosts, site, pl.String), mapped(hosts, site, pl.String)])
    )
    page_site, site_of = both[: len(pages)], both[len(pages) :]
    known = hosts.is_not_null().to_numpy()
    declared, ignored = (
        mapped(hosts, lambda name, few=few: within(name, few), pl.Boolean)  # type: ignore[misc]
        .fill_null(value=False)
        .to_numpy()
        for few in (own.own, own.ignored)
    )
    same = site_of[sent] == page_site[page]
    internal = known[sent] & (same | declared[sent])
    return internal, known[sent] & ~internal & ~ignored[sent]


def may_be_tagged() -> pl.Expr:
    """Whether an event can name a campaign: the few that are worth reading closely."""
    sent = pl.any_horizontal(
        (pl.col(column) != "").fill_null(value=False) for column in _SENT.values()
    )
    asked = pl.col("page_url").str.contains_any(list(_SIGNS), ascii_case_insensitive=True)
    return sent | asked.fill_null(value=False)


def campaigns(events: pl.DataFrame) -> pl.DataFrame:
    """utm_source … utm_content, click_id_type and click_id (as they came, decoded) of each event,
    in its order; null where absent or empty.

    events: page_url, campaign_source, campaign_medium, campaign_name String. Of what both the
    campaign and the address say, the campaign counts.
    """
    query = events.select(pl.col("page_url").str.extract(r"\?([^#]*)", 1).alias("query"))
    found = query.select(_parameter(name).alias(name) for name in (*UTM, *CLICK_IDS))
    decoded = [_decoded(found[name]) for name in found.columns]
    read = pl.DataFrame(decoded)
    sent = events.select(
        pl.when(pl.col(c).str.strip_chars() != "").then(pl.col(c)).alias(c) for c in _SENT.values()
    )
    both = pl.concat([read, sent], how="horizontal")
    kinds = [
        pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in CLICK_IDS
    ]  # the first of several, in the order of the list
    return both.select(
        *(pl.coalesce(_SENT[name], name).alias(name) if name in _SENT else name for name in UTM),
        pl.coalesce(*kinds).alias("click_id_type"),
        pl.coalesce(*CLICK_IDS).alias("click_id"),
    )


def _parameter(name: str) -> pl.Expr:
    return pl.col("query").str.extract(rf"(?i)(?:^|[&;])(?:amp;)?{name}=([^&;]*)", 1)


def _decoded(texts: pl.Series) -> pl.Series:
    """Percent-decoded, `+` as a blank, broken escapes as they are; null where nothing is left."""
    odd = texts.str.contains("[%+]").fill_null(value=False)
    if odd.any():
        texts = texts.zip_with(~odd, mapped(texts.set(~odd, None), unquote_plus, pl.String))
    return texts.set(texts.str.strip_chars() == "", None)


def folded(column: str) -> pl.Expr:
    """A value as it is compared: small letters, no blanks around."""
    return pl.col(column).str.strip_chars().str.to_lowercase()


def campaign_code() -> pl.Expr:
    """A number by which one campaign is told from another; null where there is none. Not for
    keeping: it may differ in another version of the engine."""
    parts = [folded(name) for name in UTM[:3]]
    click = _of_click(CLICK_IDS)
    named = pl.any_horizontal([part.is_not_null() for part in parts] + [click.is_not_null()])
    return pl.when(named).then(pl.struct(*parts, click.alias("click")).hash())


def _of_click(known: Mapping[str, str]) -> pl.Expr:
    return pl.col("click_id_type").replace_strict(known, default=None, return_dtype=pl.String)


_TELLING = ("referrer", *UTM[:3], "click_id_type")


def traffic(visits: pl.DataFrame) -> pl.DataFrame:
    """Each visit, in its order, with where it came from.

    visits: referrer (null where it brought nobody), utm_source … utm_content, click_id_type,
        click_id.
    Adds referrer_host, referrer_medium (search, social, video, shopping, ai, email, other),
    referrer_source, source, medium, campaign (folded) and channel.
    """
    alike = visits.select(_TELLING).unique()
    return visits.join(
        _traffic(alike), on=_TELLING, how="left", nulls_equal=True, maintain_order="left"
    )


def _traffic(visits: pl.DataFrame) -> pl.DataFrame:
    frame = visits.with_columns(
        referrer_host=host("referrer"),
        _source=folded("utm_source"), _medium=folded("utm_medium"),
        campaign=folded("utm_campaign"),
        _click=_of_click(CLICK_IDS),
    )  # fmt: skip
    hosts = frame["referrer_host"]
    frame = frame.with_columns(
        mapped(hosts, kind_of, pl.String).alias("_kind"),
        mapped(hosts, short_name, pl.String).alias("referrer_source"),
        mapped(hosts, is_webmail, pl.Boolean).alias("_mail"),
    )
    kind, known = pl.col("_kind"), pl.col("referrer_host").is_not_null()
    tagged = pl.any_horizontal(pl.col("_source", "_medium", "campaign", "_click").is_not_null())
    clicked = _of_click(CLICK_SOURCES)
    by_click = pl.col("_click").replace_strict(CLICK_MEDIUMS, default=None, return_dtype=pl.String)
    referred = (
        pl.when(kind == "search").then(pl.lit("organic"))
        .when(kind == "ai").then(pl.lit("ai-assistant"))
        .when(known).then(pl.lit("referral"))
    )  # fmt: skip
    # Google names search engines by name, every other site by its host.
    referring = (
        pl.when((kind == "search") & ~pl.col("_mail"))
        .then("referrer_source")
        .otherwise(pl.col("referrer_host").str.strip_prefix("www."))
    )
    frame = frame.with_columns(
        referrer_medium=pl.when(pl.col("_mail")).then(pl.lit("email"))
        .when(known).then(kind.fill_null("other")),
        source=pl.when(tagged).then(pl.coalesce("_source", clicked))
        .when(known).then(referring).otherwise(pl.lit("(direct)")),
        medium=pl.when(tagged).then(pl.coalesce("_medium", by_click))
        .when(known).then(referred).otherwise(pl.lit("(none)")),
    )  # fmt: skip
    frame = frame.with_columns(mapped(frame["source"], kind_of, pl.String).alias("_kind"))
    return frame.with_columns(
        channel=channel("source", "medium", "campaign", "_kind", "_click")
    ).drop("_source", "_medium", "_click", "_kind", "_mail")
