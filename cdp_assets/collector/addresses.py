"""Addresses of senders: which one is the client's, and how much of it is kept."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from cdp_assets.collector.config import IpPolicy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IN_JSON = re.compile(rb'("ip"\s*:\s*)"([^"\\]{2,45})"')


def client_address(
    peer: str | None, forwarded: str | None, trusted: Sequence[Network]
) -> str | None:
    """The client's address: the peer's, or where the peer is a trusted proxy the last address of
    `X-Forwarded-For` that is not one. What strangers write into the header is not believed."""
    if peer is None or not forwarded or not _trusted(peer, tuple(trusted)):
        return peer
    found = peer
    for item in reversed(forwarded.split(",")):
        address = _address(item)
        if address is None:
            break
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
        return ipaddress.ip_address(text)
    except ValueError:
        return None


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
    """A body in which addresses under the name `ip` are kept as the policy says."""
    if policy == "full" or b'"ip"' not in body:
        return body

    def one(found: re.Match[bytes]) -> bytes:
        text = found[2].decode("ascii", "replace")
        if _address(text) is None:
            return found[0]
        left = kept(text, policy)
        return found[1] + (b"null" if left is None else b'"%b"' % left.encode())

    return _IN_JSON.sub(one, body)
