"""The sandbox as another process, and the tests' hand on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot import HubSpot, HubSpotConfig
from cdp_assets.connectors.salesforce import Salesforce, SalesforceConfig
from cdp_assets.connectors.sugarcrm import SugarCRM, SugarCRMConfig
from cdp_assets.connectors.zendesk import Zendesk, ZendeskConfig


@dataclass
class StandIn:
    """A running sandbox. credentials: what it printed, by system."""

    url: str
    credentials: Mapping[str, Mapping[str, str]]

    def control(self, method: str, name: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self.url}/_sandbox/{name}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def faults(self, *faults: Mapping[str, Any]) -> None:
        self.control("POST", "faults", list(faults))

    def journal(self) -> list[dict[str, Any]]:
        return list(self.control("GET", "journal")["requests"])

    def quiet(self) -> None:
        """No faults, an empty journal, the real clock."""
        self.control("DELETE", "faults")
        self.control("DELETE", "journal")
        self.control("POST", "clock", {})
        self.control("POST", "rows", {})
        limits = {"hubspot_per_ten_seconds": None, "hubspot_search_per_second": None,
                  "hubspot_daily": None, "hubspot_search_lag_seconds": 0,
                  "salesforce_daily": 100_000, "salesforce_used": 0}  # fmt: skip
        limits |= {"zendesk_exports": None, "zendesk_per_minute": None, "zendesk_imports": True,
                   "zendesk_polls": 1, "zendesk_generated_lag_seconds": 0,
                   "zendesk_search_lag_seconds": 0, "sugarcrm_flags_as_text": True}  # fmt: skip
        self.control("POST", "limits", limits)

    def wait(self, seconds: float) -> None:
        """Let time pass for the stand-ins, without waiting."""
        self.control("POST", "wait", {"seconds": seconds})

    def salesforce(self, options: HttpOptions | None = None, **more: Any) -> Salesforce:
        given = self.credentials["salesforce"]
        config = SalesforceConfig(
            url=self.url,
            client_id=given["client_id"],
            **{
                "client_secret": given["client_secret"],
                "objects": ["Account", "Contact", "Lead"],
                "start": "2015-01-01",
                **more,
            },
        )
        return Salesforce("salesforce", config, options=options or quick())

    def hubspot(self, options: HttpOptions | None = None, **more: Any) -> HubSpot:
        config = HubSpotConfig(
            url=self.url,
            token=self.credentials["hubspot"]["token"],
            **{
                "objects": ["contacts", "companies", "deals", "tickets"],
                "start": "2015-01-01",
                "requests_per_10s": 100_000,
                "searches_per_second": 10_000,
                **more,
            },
        )
        return HubSpot("hubspot", config, options=options or quick())

    def zendesk(self, options: HttpOptions | None = None, **more: Any) -> Zendesk:
        given = self.credentials["zendesk"]
        way_in = {"email": given["email"], "token": given["token"]}
        config = ZendeskConfig(
            url=self.url,
            **{
                **({} if {"oauth_token", "client_id"} & more.keys() else way_in),
                "objects": ["users", "organizations", "tickets"],
                "start": "2015-01-01",
                "requests_per_minute": 1_000_000,
                "exports_per_minute": 1_000_000,
                **more,
            },
        )
        return Zendesk("zendesk", config, options=options or quick())

    def sugarcrm(self, options: HttpOptions | None = None, **more: Any) -> SugarCRM:
        given = {k: v for k, v in self.credentials["sugarcrm"].items() if k != "system"}
        objects = ["Accounts", "Contacts", "Leads"]
        config = SugarCRMConfig.model_validate(
            {**given, "objects": objects, "start": "2015-01-01", "api_version": "v11_20", **more}
        )
        return SugarCRM("sugarcrm", config, options=options or quick())


def quick(**more: Any) -> HttpOptions:
    """Options that wait little, so that faults cost the tests no time."""
    return HttpOptions(
        **{"backoff": 0.01, "sleep": lambda seconds: None, "read_timeout": 10, **more}
    )


@contextmanager
def sandbox(home: Path, people: int = 120, *args: str) -> Iterator[StandIn]:
    """A sandbox until the block ends."""
    command = [sys.executable, "-m", "cdp_assets.sandbox", "--people", str(people), "--seed", "3",
               "--port", "0", "--home", str(home), *args]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(5)]
        systems = {line["system"]: line for line in lines}
        yield StandIn(systems["salesforce"]["url"], systems)
    finally:
        process.terminate()
        process.wait(60)
