"""The stand-in SugarCRM against recorded replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from cdp_assets_tests.sandbox.running import Running


class Sugar:
    """Somebody signed in, on a platform of their own."""

    def __init__(self, sandbox: Running) -> None:
        self.base = f"{sandbox.url}/rest/v10"
        given = {k: v for k, v in sandbox.system("sugarcrm").items() if k not in ("system", "url")}
        asked = {**given, "platform": "base", "grant_type": "password"}
        reply = requests.post(f"{self.base}/oauth2/token", json=asked, timeout=30)
        self.headers = {"OAuth-Token": reply.json()["access_token"]}

    def __call__(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        reply = requests.request(
            method, self.base + path, json=body, params=params, headers=self.headers, timeout=30
        )
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest.fixture(scope="module")
def sugar(sandbox: Running) -> Sugar:
    return Sugar(sandbox)


def test_a_list_looks_as_the_recorded_one(sugar: Sugar, specs: Path) -> None:
    recorded = json.loads((specs / "sugarcrm" / "accounts_list.json").read_bytes())
    sugar("POST", "/Accounts", {"name": "A", "email": [{"email_address": "a@x.example"}]})
    ours = sugar("GET", "/Accounts", max_num="1000")
    assert ours.keys() == recorded.keys()
    assert ours["next_offset"] == recorded["next_offset"] == -1
    theirs, mine = recorded["records"][0], ours["records"][0]
    known = set(mine) - {"sync_key", "health_c"}
    assert known - set(theirs) == set(), "the recorded record has all of our fields"
    for name in known:
        assert type(mine[name]) is type(theirs[name]), name
    assert mine["email"][0].keys() == theirs["email"][0].keys()
    assert len(mine["date_modified"]) == len(theirs["date_modified"])
    assert all(mine[name] == "" for name in ("parent_id", "annual_revenue", "website"))


def test_actions_look_as_the_recorded_ones(sugar: Sugar, specs: Path) -> None:
    actions = json.loads((specs / "sugarcrm" / "actions.json").read_bytes())
    message = actions["bulkCreateObjects"]["bulkCreateObjects"]["message"]["body"]
    asked = [
        {"url": "/v10/Cases", "method": "POST", "data": json.dumps(one)}
        for one in message["objects"]
    ]
    made = sugar("POST", "/bulk", {"requests": asked})
    assert [answer["contents"]["name"] for answer in made] == ["bulk-1", "bulk-2", "bulk-3"]
    upsert = actions["upsertObject"]["upsertObjects"]
    replies = upsert["responses"]["https://sugar.example.com:443"]
    path, put = next((p, r) for p, r in replies.items() if p.endswith("a2"))
    note = sugar("POST", "/Notes", {"name": "Old", "id": upsert["message"]["body"]["id"]})
    changed = sugar(put["method"], path.removeprefix("/rest/v10"), {"name": "Note1"})
    assert put["response"].items() <= changed.items()
    assert changed["id"] == note["id"]
    metadata = next(r["response"] for p, r in replies.items() if "metadata" in p)
    ours = sugar("GET", "/metadata", type_filter="modules", module_filter="Notes")
    fields = metadata["modules"]["Notes"]["fields"]
    shown = ours["modules"]["Notes"]["fields"]
    for name in fields.keys() & shown.keys():
        for key in ("name", "type", "required", "len"):
            assert shown[name].get(key) == fields[name].get(key), (name, key)
