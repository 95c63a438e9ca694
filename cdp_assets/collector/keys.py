"""Write keys: whose they are and what they allow. Browser keys are public, server keys are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from cdp_assets.collector.config import EventSourceConfig, IpPolicy
from cdp_assets.store.keys import digest

BURST_SECONDS = 10
"""A limit of n events a second is n times this in as many seconds: batches come in gusts."""


@dataclass(frozen=True)
class Key:
    """What a write key allows. server: a secret one, whose word on `context.ip` is believed."""

    source: str
    server: bool = False
    origins: tuple[str, ...] = ("*",)
    ip: IpPolicy = "full"
    rate: int | None = None

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may send with it."""
        return any(fnmatchcase(origin.lower(), pattern) for pattern in self.origins)


def parse_quick_keys(text: str) -> dict[str, str]:
    """`name:key,name:key` → name → key. Raises ValueError."""
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, key = item.partition(":")
        if not (colon and name and key):
            raise ValueError("expected `name:key`, several by commas")
        found[name] = key
    return found


@dataclass
class KeyRing:
    """The keys that are good now.

    public: browser key → what it allows. secret: digest of a server key → what it allows.
    """

    public: Mapping[str, Key] = field(default_factory=dict)
    secret: Mapping[str, Key] = field(default_factory=dict)

    def find(self, key: str) -> Key | None:
        """What a key allows; None for one that is not known."""
        # looked up by the digest, so time tells nothing of a secret
        return self.public.get(key) or self.secret.get(digest(key))

    def origin_allowed(self, origin: str) -> bool:
        """Whether any key may be sent from pages of this origin."""
        return any(key.allows(origin) for key in (*self.public.values(), *self.secret.values()))


def key_ring(
    sources: Mapping[str, EventSourceConfig],
    quick: Mapping[str, str],
    secrets: Iterable[tuple[str, str]],
) -> KeyRing:
    """The ring of a deployment: `write_key` of its sources, quick keys (source → key), and server
    keys as (source, digest)."""
    public = {
        config.write_key: _key(name, config)
        for name, config in sources.items()
        if config.write_key is not None
    }
    public |= {key: _key(name, sources.get(name)) for name, key in quick.items()}
    secret = {hashed: _key(name, sources.get(name), server=True) for name, hashed in secrets}
    return KeyRing(public, secret)


def _key(name: str, config: EventSourceConfig | None, server: bool = False) -> Key:
    if config is None:
        return Key(name, server)
    origins = () if server else tuple(config.origins)
    return Key(name, server, origins, config.ip, config.rate)


class Rates:
    """How much each key has sent in this process: a bucket a key that leaks `rate` a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._filled: dict[tuple[str, bool], tuple[float, float]] = {}

    def wait(self, key: Key, events: int) -> int:
        """Count `events` of a key: 0 if it may send them, else the seconds to wait (they are not
        counted). A batch larger than the bucket passes when it is empty."""
        if key.rate is None:
            return 0
        now, size = self._clock(), key.rate * BURST_SECONDS
        level, since = self._filled.get((key.source, key.server), (0.0, now))
        level = max(level - (now - since) * key.rate, 0.0)
        over = level + events - size
        if over > 0 and level > 0:
            return int(min(over, level) / key.rate) + 1
        self._filled[key.source, key.server] = (level + events, now)
        return 0
