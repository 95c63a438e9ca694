"""Addresses of senders: which one is the client's, and how much of it is kept."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from cdp_assets.collector.config import IpPolicy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAYBE = re.compile(rb'"ip"|\\u0069|\\u0070')
_IN_JSON = re.compile(
    rb'("(?:i|\\u0069)(?:p|\\u0070)"\s*:\s*)(?:("(?:[^"\\]++|\\.)*+")|\[[^\[\]{}]*+\])', re.DOTALL
)
"""A member `ip`, also with its letters escaped, whose value is a text or a list of plain values."""


def client_address(
    peer: str | None, forwarded: str | None, trusted: Sequence[Network]
) -> str | None:
    """The client's address: the peer's, or where the peer is a trusted proxy the last address of
    `X-Forwarded-For` that is not one. What strangers write into the header is not believed."""
    if peer is None or not forwarded or not _trusted(peer, tuple(trusted)):
        return peer
    found: str | None = peer
    for item in reversed(forwarded.split(",")):
        address = _address(item)
        if address is None:
            return None  # a trusted proxy says that it does not know
        found = str(address)
        if not _trusted(found, tuple(trusted)):
            break
    return found


@lru_cache(maxsize=4096)
def _trusted(text: str, networks: tuple[Network, ...]) -> bool:
    address = _address(text)
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def _address(text: str) -> Address | None:
    """An address as proxies write it: with a port, in brackets, with quotes."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=4096)
def kept(address: str | None, policy: IpPolicy) -> str | None:
    """What is kept of an address: all, or without its last 8 bits (of IPv6: 80), or nothing."""
    if address is None or policy == "drop":
        return None
    if policy == "full":
        return address
    found = _address(address)
    if found is None:
        return None
    length = 24 if found.version == 4 else 48
    return str(ipaddress.ip_network((found, length), strict=False).network_address)


def scrubbed(body: bytes, policy: IpPolicy) -> bytes:
    """A body in which what stands under the name `ip` is kept as the policy says: an address as
    `kept` does, anything else (several, a list, other text) not at all."""
    if policy == "full" or not _MAYBE.search(body):
        return body

    def one(found: re.Match[bytes]) -> bytes:
        text = found[2]
        try:
            value = str(msgspec.json.decode(text)) if text else ""
        except (msgspec.DecodeError, UnicodeError):
            value = ""
        left = kept(value.strip(), policy)
        return found[1] + (b"null" if left is None else b'"%b"' % left.encode())

    return _IN_JSON.sub(one, body)
