"""Hosts: whose they are, and what kind of site they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from ipaddress import ip_address

import tldextract

HOST = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:\s]+)"
"""The host of an absolute address, as first group."""

# The list of public suffixes that comes with the package: nothing is fetched.
_suffixes = tldextract.TLDExtract(
    cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True
)
_SHORT: Mapping[str, str] = {
    "t.co": "twitter", "x.com": "twitter", "lnkd.in": "linkedin", "fb.me": "facebook",
    "fb": "facebook", "ig": "instagram", "youtu.be": "youtube", "t.me": "telegram",
    "chat.openai.com": "chatgpt", "news.ycombinator.com": "hackernews",
    "gemini.google.com": "gemini", "bard.google.com": "gemini", "copilot.microsoft.com": "copilot",
}  # fmt: skip
# Sites with one name under many top-level domains.
_EVERYWHERE: Mapping[str, str] = {
    "google": "search", "bing": "search", "yahoo": "search", "yandex": "search",
    "baidu": "search", "duckduckgo": "search", "pinterest": "social", "amazon": "shopping",
    "ebay": "shopping", "mercadolibre": "shopping",
}  # fmt: skip
_WEBMAIL = (
    "mail.google.com", "mail.yahoo.com", "mail.aol.com", "mail.live.com", "outlook.live.com",
    "outlook.office.com", "outlook.office365.com", "mail.qq.com", "mail.126.com", "mail.163.com",
    "mail.naver.com", "mail.yandex.ru", "mail.rambler.ru", "email.seznam.cz", "mail.ru",
    "com.google.android.gm", "mail.proton.me", "webmail.bigpond.com", "email.t-online.de",
    "navigator.web.de", "navigator.gmx.net", "mail.zoho.com",
)  # fmt: skip


def bare_host(text: str) -> str | None:
    """The host that an address, or a host's name, means: in small letters, without a final dot."""
    text = text.strip()
    found = re.match(HOST, text if "//" in text else f"//{text}")
    return found[1].lower().rstrip(".") or None if found else None


@lru_cache(maxsize=100_000)
def site(host: str) -> str:
    """The registered domain of a host (`shop.example.co.uk` → `example.co.uk`), by the list of
    public suffixes; the host itself where it has none (`localhost`, an address)."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return _suffixes(host).top_domain_under_public_suffix or host
    return host


def within(host: str, domains: Iterable[str]) -> bool:
    """Whether a host is one of these domains or lies below one."""
    return any(host == domain or host.endswith("." + domain) for domain in domains)


@cache
def _listed() -> dict[str, str]:
    """Listed name → kind of site."""
    found: dict[str, str] = {}
    kind = ""
    text = files("cdp_assets.events").joinpath("sites.txt").read_text("utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            kind = line.strip("[] ")
        elif not line.startswith("#"):
            for name in line.split():
                found[name.rstrip("*")] = kind
                if name.endswith("*"):
                    found[name.split(".")[0]] = kind
    return found


@lru_cache(maxsize=100_000)
def kind_of(source: str) -> str | None:
    """What kind of site a host, or the name of a source, is: search, social, video, shopping or
    ai; None for any other.

    By Google's list of source categories (`sites.txt`); the longest listed end of a host counts.
    """
    listed, name = _listed(), source.strip().lower()
    if name in listed:
        return listed[name]
    labels = name.split(".")
    for start in range(1, len(labels) - 1):
        if (kind := listed.get(".".join(labels[start:]))) is not None:
            return kind
    return _EVERYWHERE.get(site(name).split(".")[0]) if len(labels) > 1 else None


def short_name(host: str) -> str:
    """What people call a listed site (`l.facebook.com` → facebook); of any other, the host
    without `www.`."""
    if host in _SHORT:
        return _SHORT[host]
    return site(host).split(".")[0] if kind_of(host) is not None else host.removeprefix("www.")


def is_webmail(host: str) -> bool:
    """Whether people read mail there."""
    return within(host, _WEBMAIL)
