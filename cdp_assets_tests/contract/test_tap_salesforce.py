"""The Singer tap for Salesforce, unmodified, against the stand-in.

It stays out of our environment as its pins do not fit: CDP_TAP_SALESFORCE names a Python that has
`tap-salesforce` 2.8.1. It takes no address: where to sign in is a text inside its `login`, so
requests to that host are led to the stand-in, which then says itself where the org is. Only its
REST way is used: the other one speaks Bulk API 1.0, which the stand-in is none of.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from cdp_assets_tests.sandbox.running import Running

STREAMS = ("Account", "Contact", "Lead", "Subscription__c")
RUN = """
import sys, requests
url, plain = sys.argv.pop(1), requests.Session.request
def request(self, method, address, **more):
    return plain(self, method, address.replace("https://login.salesforce.com", url), **more)
requests.Session.request = request
from tap_salesforce import main
main()
"""


@pytest.mark.slow
def test_it_reads_what_the_stand_in_holds(sandbox: Running, tmp_path: Path) -> None:
    python = os.environ.get("CDP_TAP_SALESFORCE")
    if not python:
        pytest.skip("CDP_TAP_SALESFORCE names no Python with tap-salesforce")
    state = sandbox.control("GET", "state")
    given = sandbox.system("salesforce")
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "client_id": given["client_id"], "client_secret": given["client_secret"],
                "refresh_token": state["refresh_token"], "start_date": "2000-01-01T00:00:00Z",
                "api_type": "REST", "select_fields_by_default": "true",
            }
        )
    )  # fmt: skip

    def tap(*arguments: str) -> str:
        command = [python, "-c", RUN, sandbox.url, "--config", str(config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    catalog = json.loads(tap("--discover"))
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in STREAMS
    chosen = tmp_path / "catalog.json"
    chosen.write_text(json.dumps(catalog))
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in tap("--properties", str(chosen)).splitlines():
        message = json.loads(line)
        if message["type"] == "RECORD":
            found[message["stream"]][message["record"]["Id"]] = message["record"]
    for name in STREAMS:
        live = [row for row in found[name].values() if not row.get("IsDeleted")]
        assert len(live) == state["records"][f"salesforce.{name}"], name
