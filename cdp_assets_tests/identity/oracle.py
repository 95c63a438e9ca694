"""The rules of identity once more, in the plainest Python: what the real code is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Key = tuple[str, str, str]
"""left, right, source."""

ORDER = ("salesforce.Contact", "user_id", "email", "phone", "anonymous_id")
WEAK = "anonymous_id"


def kind(identifier: str) -> str:
    return identifier.partition(":")[0]


def rank(identifier: str) -> int:
    return ORDER.index(kind(identifier))


@dataclass
class Verdicts:
    """groups: the components that hold a strong identifier. states: pair → reason, None where the
    link was taken."""

    groups: set[frozenset[str]] = field(default_factory=set)
    states: dict[tuple[str, str], str | None] = field(default_factory=dict)


def judge(links: Mapping[Key, int], limits: Mapping[str, int]) -> Verdicts:
    """Take the links one by one, strongest first; refuse those that break a rule."""
    pairs: dict[tuple[str, str], int] = {}
    for (left, right, _), seen in links.items():
        pairs[left, right] = min(seen, pairs.get((left, right), seen))
    home = {end: frozenset([end]) for pair in pairs for end in pair}

    def turn(pair: tuple[str, str]) -> tuple[int, int, int, str, str]:
        ranks = rank(pair[0]), rank(pair[1])
        return max(ranks), min(ranks), pairs[pair], *pair

    found = Verdicts()
    for pair in sorted(pairs, key=turn):
        one, other = home[pair[0]], home[pair[1]]
        found.states[pair] = None
        if one == other:
            continue
        both = one | other
        over = [
            name
            for name in ORDER
            if limits.get(name) and sum(kind(i) == name for i in both) > limits[name]
        ]
        if WEAK in map(kind, pair) and _strong(one) and _strong(other):
            found.states[pair] = "device"
        elif over:
            found.states[pair] = f"limit:{over[0]}"
        else:
            home.update(dict.fromkeys(both, both))
    for left, right in pairs:
        if home[left] == home[right]:
            found.states[left, right] = None
    found.groups = {group for group in home.values() if _strong(group)}
    return found


def _strong(group: Iterable[str]) -> bool:
    return any(kind(i) != WEAK for i in group)


@dataclass
class Ledger:
    """Ids as a person would keep them: rows of (anchor, profile, minted), and redirects."""

    rows: list[tuple[str, int, int]] = field(default_factory=list)
    redirect: dict[int, int] = field(default_factory=dict)

    def assign(
        self, groups: set[frozenset[str]], before: Mapping[str, int]
    ) -> dict[frozenset[str], int]:
        """The id of each group; writes the ledger on."""
        age = {p: min(m for _, q, m in self.rows if q == p) for _, p, _ in self.rows}
        claims: dict[int, frozenset[str]] = {}
        for anchor, profile, _ in sorted(self.rows, key=lambda row: row[2]):
            for group in groups:
                if anchor in group:
                    claims.setdefault(profile, group)
        anchorless = set(before.values()) - set(claims)
        heirs: dict[int, str] = {}
        for profile in anchorless:
            left = [i for i, p in before.items() if p == profile and any(i in g for g in groups)]
            if left:
                heirs[profile] = min(left, key=lambda i: (rank(i), i))
                claims[profile] = next(g for g in groups if heirs[profile] in g)
        winners: dict[frozenset[str], int] = {}
        for profile in sorted(claims, key=lambda p: age[p]):
            winners.setdefault(claims[profile], profile)
        for profile, group in claims.items():
            if winners[group] == profile:
                self.redirect.pop(profile, None)
            else:
                self.redirect[profile] = winners[group]
        minted = max((m for _, _, m in self.rows), default=0)
        anchors = [min(g, key=lambda i: (rank(i), i)) for g in groups if g not in winners]
        for anchor in sorted(anchors):
            minted += 1
            self.rows.append((anchor, minted, minted))
            winners[next(g for g in groups if anchor in g)] = minted
        kept = [(heirs[p], p) for p in heirs if winners[claims[p]] == p]
        for anchor, profile in sorted(kept):
            minted += 1
            self.rows.append((anchor, profile, minted))
        return winners
