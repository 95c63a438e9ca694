"""Why these identifiers are one person, now and then."""

from __future__ import annotations

import pytest

from cdp_assets.identity import explain, members_as_of
from cdp_assets.lake import Lake
from cdp_assets_tests.identity.world import (
    CONTACT,
    at,
    contact,
    event,
    profile_of,
    profiles,
    pull,
    run,
    send,
    tell,
    version,
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    pull(
        lake,
        CONTACT,
        contact("1", 0, Email="ada@example.com"),
        contact("2", 0, Email="bob@example.com"),
    )
    send(lake, event(10, "dev", "42"), event(20, "dev", "43"))
    tell(lake, 12, "user_id:42", "email", "ada@example.com")
    run(lake, now=at(30))
    pull(lake, CONTACT, contact("1", 40, Email="ada.new@example.com"))
    pull(lake, CONTACT, version("2", 41, None, op="merge", merged_into="1"))
    run(lake, now=at(50))
    return lake


def test_the_chain_shows_each_link_with_its_evidence(lake: Lake) -> None:
    user = profile_of(lake, "user_id:42")
    assert user is not None
    found = explain(lake, "person", user)
    assert found.identifiers == ["user_id:42", "email:ada@example.com", "anonymous_id:dev"]
    chain = found.chain("email:ada@example.com", "anonymous_id:dev")
    assert [(s.start, s.end, s.source) for s in chain] == [
        ("email:ada@example.com", "user_id:42", "events.traits.email"),
        ("user_id:42", "anonymous_id:dev", "events"),
    ]
    assert chain[1].first_seen == at(10)
    assert found.why()["anonymous_id:dev"] == [chain[1]]
    refused = found.refused.select("left", "right", "reason", "other").rows()
    other = profile_of(lake, "user_id:43")
    text = "\n".join(found.lines())
    assert "user_id:42 — anonymous_id:dev: events, since 2026-01-01 10:00" in text
    assert f"not joined: anonymous_id:dev — user_id:43 (profile {other})" in text
    assert refused == [("anonymous_id:dev", "user_id:43", "device", other)]


def test_an_unknown_profile_has_no_explanation(lake: Lake) -> None:
    found = explain(lake, "person", 999)
    assert found.identifiers == []
    assert list(found.lines()) == ["  no identifier belonged to it"]


def test_a_past_day_is_resolved_from_what_was_known_then(lake: Lake) -> None:
    contact_now = profile_of(lake, "salesforce.Contact:1")
    assert contact_now is not None
    now = explain(lake, "person", contact_now)
    then = explain(lake, "person", contact_now, as_of=at(30))
    earlier = explain(lake, "person", contact_now, as_of=at(5))
    assert set(now.identifiers) == {
        "salesforce.Contact:1", "salesforce.Contact:2", "email:ada.new@example.com",
        "email:bob@example.com",
    }  # fmt: skip
    assert set(then.identifiers) == {
        "salesforce.Contact:1", "email:ada@example.com", "user_id:42", "anonymous_id:dev"
    }  # fmt: skip
    assert set(earlier.identifiers) == {"salesforce.Contact:1", "email:ada@example.com"}
    assert explain(lake, "person", contact_now, as_of=at(-1)).identifiers == []


def test_as_of_now_is_now(lake: Lake) -> None:
    found = members_as_of(lake, "person", at(60))
    then = {frozenset(ids) for ids in found.group_by("profile_id").agg("identifier")["identifier"]}
    assert then == {frozenset(p) for p in profiles(lake)}
