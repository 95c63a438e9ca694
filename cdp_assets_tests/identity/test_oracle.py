"""The graph and its ids against an oracle, over random comings and goings of links.

Incremental equals full: whatever the batches, links, profiles, ids and ledger are those that one
reading of all links with the same ledger gives.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.identity import IdentityConfig, evidence, resolution
from cdp_assets.identity.graph import components
from cdp_assets.identity.ledger import LEDGER
from cdp_assets.identity.resolution import MEMBER, STORED, STORED_SCHEMA, resolve_links
from cdp_assets.identity.rules import EntityRules, entity_rules
from cdp_assets_tests.identity.oracle import Key, Ledger, Verdicts, judge, rank
from cdp_assets_tests.identity.world import CONTACT

START = datetime(2026, 1, 1, tzinfo=UTC)
IDENTIFIERS = [
    *(f"salesforce.Contact:{n}" for n in range(3)),
    *(f"user_id:{n}" for n in range(3)),
    *(f"email:{n}@example.com" for n in range(3)),
    *(f"phone:+1{n}" for n in range(2)),
    *(f"anonymous_id:{n}" for n in range(3)),
]
LIMITED = ("user_id", "email", "phone", "anonymous_id")


def rules_with(limits: dict[str, int]) -> EntityRules:
    found = {name: {"limit": limits.get(name) or None} for name in LIMITED}
    config = IdentityConfig.model_validate({"person": {"identifiers": found}})
    return entity_rules(config, [CONTACT])["person"]


@st.composite
def link_keys(draw: st.DrawFn) -> Key:
    left, right = sorted(
        draw(st.tuples(st.sampled_from(IDENTIFIERS), st.sampled_from(IDENTIFIERS)))
    )
    if left == right and rank(left) == 4:
        right = IDENTIFIERS[0]
    return left, right, draw(st.sampled_from(["events", "crm"]))


limit_sets = st.fixed_dictionaries({name: st.sampled_from([0, 1, 1, 2]) for name in LIMITED})
link_sets = st.dictionaries(link_keys(), st.integers(0, 3), max_size=14)
batches = st.lists(
    st.dictionaries(link_keys(), st.none() | st.integers(0, 3), min_size=1, max_size=5),
    min_size=2,
    max_size=4,
)


def frame(links: dict[Key, int]) -> pl.DataFrame:
    rows = [
        (left, right, source, START + timedelta(hours=seen), START, 1, None)
        for (left, right, source), seen in links.items()
    ]
    return pl.DataFrame(rows, schema=evidence.SCHEMA, orient="row")


def states(links: pl.DataFrame) -> dict[tuple[str, str], str | None]:
    rows = links.select("left", "right", "reason", "state").iter_rows()
    found: dict[tuple[str, str], str | None] = {}
    for left, right, reason, state in rows:
        assert (state == "refused") == (reason is not None)
        assert found.setdefault((left, right), reason) == reason
    return found


def groups(members: pl.DataFrame, by: str) -> set[frozenset[str]]:
    return {frozenset(ids) for ids in members.group_by(by).agg("identifier")["identifier"]}


@given(link_sets, limit_sets)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_components_are_those_of_the_oracle(links: dict[Key, int], limits: dict[str, int]) -> None:
    expected = judge(links, limits)
    found = components(frame(links), rules_with(limits))
    assert states(found.links) == expected.states
    assert groups(found.nodes.filter("strong"), "component") == expected.groups


class Store:
    """What the step keeps, in memory."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.rules = rules_with(limits)
        self.links = pl.DataFrame(schema=STORED_SCHEMA)
        self.graph = pl.DataFrame(schema=MEMBER)
        self.ids = pl.DataFrame(schema=LEDGER)

    def apply(self, batch: dict[Key, int | None], *, whole: bool = False) -> None:
        named = pl.DataFrame(list(batch), schema=list(evidence.KEY), orient="row")
        stale = self.links.join(named, on=evidence.KEY, how="semi")
        fresh = frame({key: seen for key, seen in batch.items() if seen is not None})
        done = resolve_links(
            fresh, stale, self.links.lazy(), self.graph, self.ids, self.rules, whole=whole
        )
        gone = pl.concat([stale.select(evidence.KEY), done.links.select(evidence.KEY)])
        self.links = pl.concat(
            [self.links.join(gone, on=evidence.KEY, how="anti"), done.links.select(STORED)]
        )
        self.graph = pl.concat(
            [self.graph.join(done.before, on="identifier", how="anti"), done.members]
        )
        assert self.graph["identifier"].is_unique().all()
        self.ids = pl.concat([self.ids.join(done.ledger, on="anchor", how="anti"), done.ledger])

    def profiles(self) -> dict[frozenset[str], int]:
        found = self.graph.group_by("profile_id").agg("identifier").iter_rows()
        return {frozenset(ids): profile for profile, ids in found}

    def redirects(self) -> dict[int, int]:
        return dict(
            self.ids.drop_nulls("redirect_to").select("profile_id", "redirect_to").iter_rows()
        )


def check_history(history: list[dict[Key, int | None]], limits: dict[str, int]) -> Store:
    store, ledger, present = Store(limits), Ledger(), dict[Key, int]()
    before: dict[str, int] = {}
    for batch in history:
        batch = {k: v for k, v in batch.items() if v is not None or k in present}
        if not batch:
            continue
        for key, seen in batch.items():
            present.pop(key, None)
            if seen is not None:
                present[key] = seen
        store.apply(batch)
        expected: Verdicts = judge(present, limits)
        assert states(store.links) == expected.states
        assert set(store.links.select(evidence.KEY).iter_rows()) == set(present)
        profiles = ledger.assign(expected.groups, before)
        assert store.profiles() == profiles
        assert store.redirects() == ledger.redirect
        rows = store.ids.select("anchor", "profile_id", "minted_seq").rows()
        assert sorted(rows) == sorted(ledger.rows)
        before = {i: profile for group, profile in profiles.items() for i in group}
    return store


@pytest.fixture
def closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is touched is resolved, however large a share of the small graph it is."""
    monkeypatch.setattr(resolution, "WHOLE_SHARE", 1e9)


HISTORY: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@given(batches, limit_sets)
@settings(max_examples=50, **HISTORY)
def test_any_history_equals_the_oracle(
    closely: None, history: list[dict[Key, int | None]], limits: dict[str, int]
) -> None:
    check_history(history, limits)


@pytest.mark.slow
@given(batches, limit_sets)
@settings(max_examples=1500, **HISTORY)
def test_many_histories_equal_the_oracle(
    closely: None, history: list[dict[Key, int | None]], limits: dict[str, int]
) -> None:
    check_history(history, limits)


@given(link_sets.filter(bool), limit_sets, st.randoms(use_true_random=False))
@settings(max_examples=40, **HISTORY)
def test_a_rebuild_with_the_same_ledger_gives_the_same_ids(
    closely: None, links: dict[Key, int], limits: dict[str, int], random: Any
) -> None:
    store = Store(limits)
    keys = list(links)
    random.shuffle(keys)
    for start in range(0, len(keys), 4):
        store.apply({key: links[key] for key in keys[start : start + 4]})
    again = Store(limits)
    again.ids = store.ids
    again.apply(dict(links), whole=True)
    assert again.profiles() == store.profiles()
    assert states(again.links) == states(store.links)
    assert again.ids.sort("minted_seq").equals(store.ids.sort("minted_seq"))
