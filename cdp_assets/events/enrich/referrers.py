"""Referrers by what kind of site they are."""

from __future__ import annotations

import polars as pl

from cdp_assets.events.distinct import coded
from cdp_assets.events.hosts import bare_host, is_webmail, kind_of, site


def classed(events: pl.DataFrame) -> pl.DataFrame:
    """referrer_class of each event: internal (the page's own registered domain), email, what
    `hosts.kind_of` says (search, social, video, shopping, ai), else referral; null without a
    referrer. Channels, which know campaigns and declared domains too, are `sessions`' affair.

    events: page_url, referrer String.
    """
    page, pages = coded(events["page_url"])
    sent, senders = coded(events["referrer"])
    hosts = [bare_host(text) if text else None for text in senders]
    kinds = pl.Series([_kind(host) if host else None for host in hosts], dtype=pl.String)
    sites = pl.Series([site(host) if host else None for host in hosts], dtype=pl.String)
    own_hosts = [bare_host(text) if text else None for text in pages]
    own = pl.Series([site(host) if host else None for host in own_hosts], dtype=pl.String)
    inside = (sites.gather(sent) == own.gather(page)).fill_null(value=False)
    found = kinds.gather(sent).set(inside, "internal")
    return found.alias("referrer_class").to_frame()


def _kind(host: str) -> str:
    return "email" if is_webmail(host) else kind_of(host) or "referral"
