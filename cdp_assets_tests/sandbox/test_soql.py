"""SOQL against plain Python over the same rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.sandbox.clock import salesforce_time
from cdp_assets_tests.sandbox.conftest import NOW, Vendors

TITLES = (None, "Boss", "boss", "Clerk")
ROWS = st.lists(
    st.tuples(st.sampled_from(TITLES), st.one_of(st.none(), st.integers(-2, 2)), st.integers(0, 2)),
    max_size=8,
)
LEAVES = st.sampled_from(
    [
        ("Title = 'BOSS'", lambda t, n, d: t is not None and t.lower() == "boss"),
        ("Title != 'boss'", lambda t, n, d: t is None or t.lower() != "boss"),
        ("Title = null", lambda t, n, d: t is None),
        ("Title LIKE '%oS_'", lambda t, n, d: t is not None and t.lower() == "boss"),
        ("Title IN ('Clerk', 'x')", lambda t, n, d: t == "Clerk"),
        ("Title NOT IN ('Clerk')", lambda t, n, d: t != "Clerk"),
        ("Orders__c > 0", lambda t, n, d: n is not None and n > 0),
        ("Orders__c <= -1", lambda t, n, d: n is not None and n <= -1),
        ("Orders__c != null", lambda t, n, d: n is not None),
        ("Last_Seen__c >= 2026-03-31T00:00:00Z", lambda t, n, d: d <= 1),
        ("Last_Seen__c = TODAY", lambda t, n, d: d == 0),
        ("Last_Seen__c = LAST_N_DAYS:1", lambda t, n, d: d <= 1),
        ("Last_Seen__c < TODAY", lambda t, n, d: d > 0),
        ("Last_Seen__c <= YESTERDAY", lambda t, n, d: d >= 1),
        ("Last_Seen__c > YESTERDAY", lambda t, n, d: d == 0),
        ("Last_Seen__c != YESTERDAY", lambda t, n, d: d != 1),
    ]
)


def _both(children: Any) -> Any:
    return st.one_of(
        st.tuples(children).map(lambda c: (f"(NOT {c[0][0]})", lambda *r: not c[0][1](*r))),
        st.tuples(children, children).map(
            lambda c: (f"({c[0][0]} AND {c[1][0]})", lambda *r: c[0][1](*r) and c[1][1](*r))
        ),
        st.tuples(children, children).map(
            lambda c: (f"({c[0][0]} or {c[1][0]})", lambda *r: c[0][1](*r) or c[1][1](*r))
        ),
    )


@given(rows=ROWS, condition=st.recursive(LEAVES, _both, max_leaves=5))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_conditions_mean_what_python_says(vendors: Vendors, rows: Any, condition: Any) -> None:
    table = vendors.salesforce.tables["salesforce.Contact"]
    for key in list(table.rows):
        table.put(key, None)
    wanted = set()
    text, law = condition
    for title, orders, days in rows:
        reply = vendors.sf(
            "POST", "/sobjects/Contact",
            {
                "LastName": "x", "Title": title, "Orders__c": orders,
                "Last_Seen__c": salesforce_time(NOW - timedelta(days=days)),
            },
        )  # fmt: skip
        if law(title, orders, days):
            wanted.add(reply.body["id"])
    found = vendors.query(f"SELECT Id FROM Contact WHERE {text}")
    assert {record["Id"] for record in found} == wanted


def contacts(vendors: Vendors, count: int) -> list[str]:
    keys = []
    for start in range(0, count, 200):
        records = [
            {"attributes": {"type": "Contact"}, "LastName": f"n{n}", "Orders__c": n % 7}
            for n in range(start, min(count, start + 200))
        ]
        reply = vendors.sf("POST", "/composite/sobjects", {"records": records})
        keys += [result["id"] for result in reply.body]
    return keys


def test_keyset_pages_pass_through_a_thousand_equal_stamps(vendors: Vendors) -> None:
    keys = contacts(vendors, 1000)  # the clock stands still: one stamp for all
    stamp, key, seen = "2026-01-01T00:00:00Z", "", []
    while True:
        after = f"AND Id > '{key}'" if key else ""
        page = vendors.query(
            "SELECT Id, SystemModstamp FROM Contact WHERE SystemModstamp > " + stamp
            + (f" OR (SystemModstamp = {stamp} {after})" if key else "")
            + " ORDER BY SystemModstamp, Id LIMIT 300"
        )  # fmt: skip
        seen += [record["Id"] for record in page]
        if len(page) < 300:
            break
        key, stamp = page[-1]["Id"], page[-1]["SystemModstamp"].replace("+0000", "Z")
    assert seen == sorted(keys)


def test_locators_page_by_the_size_asked_for(vendors: Vendors) -> None:
    keys = contacts(vendors, 450)
    options = {"sforce-query-options": "batchSize=200"}
    reply = vendors.sf("GET", "/query", headers=options, q="SELECT Id FROM Contact ORDER BY Id")
    seen = [record["Id"] for record in reply.body["records"]]
    while not reply.body["done"]:
        assert reply.body["totalSize"] == 450
        path = reply.body["nextRecordsUrl"].removeprefix("/services/data/v62.0")
        reply = vendors.sf("GET", path, headers=options)
        seen += [record["Id"] for record in reply.body["records"]]
    assert seen == sorted(keys)
    vendors.salesforce.expire_locators()
    assert vendors.sf("GET", path).body[0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_order_limit_offset_and_aggregates(vendors: Vendors) -> None:
    contacts(vendors, 20)
    vendors.sf("POST", "/sobjects/Contact", {"LastName": "none"})
    found = vendors.query("SELECT Orders__c FROM Contact ORDER BY Orders__c DESC NULLS LAST, Id")
    values = [record["Orders__c"] for record in found]
    assert values == [*sorted(values[:-1], reverse=True), None]
    first = vendors.query("SELECT Orders__c FROM Contact ORDER BY Orders__c LIMIT 2 OFFSET 1")
    assert [record["Orders__c"] for record in first] == [0, 0]  # nulls first, and skipped
    groups = vendors.query(
        "SELECT Orders__c, COUNT(Id) n, MAX(Name) FROM Contact WHERE Orders__c < 2 "
        "GROUP BY Orders__c"
    )
    assert [(g["Orders__c"], g["n"], g["expr0"]) for g in groups] == [(0, 3, "n7"), (1, 3, "n8")]


def test_relationships_nest_and_may_be_null(vendors: Vendors) -> None:
    account = vendors.sf("POST", "/sobjects/Account", {"Name": "Acme"}).body["id"]
    for link in (account, None):
        vendors.sf("POST", "/sobjects/Contact", {"LastName": "x", "AccountId": link})
    vendors.sf("POST", "/sobjects/Subscription__c", {"Account__c": account, "Status__c": "active"})
    found = vendors.query("SELECT Id, Account.Name FROM Contact ORDER BY AccountId NULLS LAST")
    assert found[0]["Account"]["Name"] == "Acme"
    assert found[0]["Account"]["attributes"]["type"] == "Account"
    assert found[1]["Account"] is None
    assert len(vendors.query("SELECT Id FROM Contact WHERE Account.Name = 'acme'")) == 1
    custom = vendors.query("SELECT Account__r.Name FROM Subscription__c")
    assert custom[0]["Account__r"]["Name"] == "Acme"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact; DROP", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD"),
        ("SELECT Nope.Name FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Orders__c = 'one'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE CreatedDate > '2026-01-01'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Id = 'short'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT FIELDS(ALL) FROM Contact", "MALFORMED_QUERY"),
    ],
)
def test_refusals(vendors: Vendors, text: str, code: str) -> None:
    reply = vendors.sf("GET", "/query", q=text)
    assert (reply.status, reply.body[0]["errorCode"]) == (400, code)
