"""All stand-ins of one world, and the tests' hand on them: what `/_sandbox/…` does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cdp_assets.sandbox.control import Faults, Journal
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.api import PATHS as HUBSPOT_PATHS
from cdp_assets.sandbox.hubspot.api import HubSpotApi
from cdp_assets.sandbox.rows import Rows, tie
from cdp_assets.sandbox.salesforce.api import SalesforceApi
from cdp_assets.sandbox.salesforce.describe import read_only
from cdp_assets.sandbox.salesforce.oauth import OAuth
from cdp_assets.sandbox.sugarcrm.api import SugarApi
from cdp_assets.sandbox.world.world import World
from cdp_assets.sandbox.zendesk.api import ZendeskApi

CLIENT_ID = "sandbox-client-id"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 (of a stand-in on this machine)
REFRESH_TOKEN = "sandbox-refresh-token"  # noqa: S105
HUBSPOT_TOKEN = "pat-sandbox-token"  # noqa: S105
ZENDESK_EMAIL = "agent@fathom.example"
ZENDESK_TOKEN = "zd-sandbox-token"  # noqa: S105
SUGAR = {
    "username": "integration", "password": "sandbox-password", "client_id": "sugar",
    "client_secret": CLIENT_SECRET, "platform": "cdp",
}  # fmt: skip


_GONE = ("IsDeleted", "_archived", "_deleted", "deleted")
"""What marks a deleted record, in one system or another."""


class StandIns:
    """The systems of one world. `answer` is a plain function of a request."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.journal = Journal()
        self.faults = Faults()
        self.oauth = OAuth(self.clock, CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN)
        self.salesforce = SalesforceApi(world.tables, self.clock, self.oauth)
        self.hubspot = HubSpotApi(world.tables, self.clock, HUBSPOT_TOKEN)
        self.zendesk = ZendeskApi(
            world.tables, self.clock, ZENDESK_EMAIL, ZENDESK_TOKEN, CLIENT_ID, CLIENT_SECRET
        )
        self.sugarcrm = SugarApi(
            world.tables, self.clock, SUGAR["username"], SUGAR["password"], SUGAR["client_id"],
            SUGAR["client_secret"],
        )  # fmt: skip
        self.rows: dict[str, Rows] = {
            "salesforce": self.salesforce.objects.rows, "hubspot": self.hubspot.records.rows,
            "zendesk": self.zendesk.records.rows, "sugarcrm": self.sugarcrm.records.rows,
        }  # fmt: skip
        self.systems: dict[str, Callable[[Request], Reply]] = {
            "/services": self.salesforce.handle,
            **dict.fromkeys(HUBSPOT_PATHS, self.hubspot.handle),
            "/api/v2": self.zendesk.handle,
            "/oauth/tokens": self.zendesk.handle,
            "/rest/v1": self.sugarcrm.handle,
        }

    def answer(self, request: Request) -> Reply:
        """What the stand-in of this path answers."""
        for path, handle in self.systems.items():
            if request.path.startswith(path):
                return handle(request)
        return Reply(404, {"message": "no such path in this sandbox"})

    def control(self, request: Request) -> Reply:
        """`/_sandbox/…`."""
        name = request.path.removeprefix("/_sandbox").strip("/")
        try:
            body = msgspec.json.decode(request.body) if request.body else {}
            return Reply(body=self._control(request.method, name, request, body))
        except LookupError as error:
            return Reply(404, {"message": str(error)})
        except Exception as error:  # noqa: BLE001 (a test's mistake comes back to the test)
            return Reply(400, {"message": f"{type(error).__name__}: {error}"})

    def _control(self, method: str, name: str, request: Request, body: Any) -> Any:
        match (method, name):
            case ("GET", "state"):
                return self.state()
            case ("POST", "next-day"):
                return self.world.next_day()
            case ("GET", "journal"):
                return self.journal.body(int(request.query.get("after", 0)))
            case ("DELETE", "journal"):
                self.journal.clear()
                return {}
            case ("GET", "faults"):
                return [fault.__dict__ for fault in self.faults.waiting]
            case ("POST", "faults"):
                self.faults.add(body if isinstance(body, list) else [body])
                return {"waiting": len(self.faults.waiting)}
            case ("DELETE", "faults"):
                self.faults.waiting.clear()
                return {}
            case ("POST", "clock"):
                at = body.get("now")
                self.clock.freeze(datetime.fromisoformat(at) if at else None)
                self.clock.skew = timedelta(seconds=float(body.get("skew_seconds", 0)))
                self.clock.waited, self.journal.waited = timedelta(0), 0.0
                return {"now": self.clock.now().isoformat()}
            case ("POST", "wait"):
                # Tests wait for nothing: whoever should have waited says so.
                self.journal.waited += float(body["seconds"])
                self.clock.waited += timedelta(seconds=float(body["seconds"]))
                return {"waited": self.journal.waited}
            case ("POST", "rows"):
                for system, rows in self.rows.items():
                    rows.set(**body.get(system, {}))
                return {}
            case ("POST", "tie"):
                at = datetime.fromisoformat(body["at"])
                return {"tied": tie(self.world.tables, body["table"], at)}
            case ("POST", "expire-tokens"):
                systems = (self.oauth, self.hubspot.oauth, self.zendesk, self.sugarcrm)
                return {"expired": sum(system.expire() for system in systems)}
            case ("POST", "expire-locators"):
                self.salesforce.expire_locators()
                return {}
            case ("POST", "limits"):
                return self._set_limits(body)
            case ("POST", "salesforce/certificate"):
                self.oauth.public_key = body["public_key"].encode()
                self.oauth.usernames = frozenset(body["usernames"])
                return {}
            case ("POST", "salesforce/lock"):
                self.salesforce.objects.locks[body["id"]] = int(body["times"])
                return {}
            case ("POST", "salesforce/merge"):
                spec = self.salesforce.objects.spec(body["object"])
                self.salesforce.objects.merge(spec, body["master"], body["losers"])
                self.world.tables.commit()
                return {}
            case ("POST", "salesforce/undelete"):
                spec = self.salesforce.objects.spec(body["object"])
                self.salesforce.objects.undelete(spec, body["id"])
                self.world.tables.commit()
                return {}
            case ("POST", "salesforce/delete"):
                spec = self.salesforce.objects.spec(body["object"])
                self.salesforce.objects.delete(spec, body["id"])
                self.world.tables.commit()
                return {}
            case ("POST", "hubspot/marketing"):
                self.hubspot.marketing.seed(body)
                return {}
            case ("POST", "hubspot/archive-owner"):
                self.hubspot.archive_owner(body["id"])
                return {}
            case ("POST", "zendesk/touch"):
                self.zendesk.touch(body["object"], body["id"])
                return {}
        raise LookupError(f"no such control: {method} {name}")

    def _set_limits(self, body: dict[str, Any]) -> dict[str, Any]:
        """Limits a test asks for; those not named stay. A HubSpot limit of null is none."""
        salesforce, hubspot = self.salesforce, self.hubspot
        salesforce.daily_limit = int(body.get("salesforce_daily", salesforce.daily_limit))
        salesforce.calls = int(body.get("salesforce_used", salesforce.calls))
        jobs = salesforce.query_jobs
        jobs.polls = int(body.get("salesforce_bulk_polls", jobs.polls))
        jobs.page = int(body.get("salesforce_bulk_page", jobs.page))
        jobs.fail = body.get("salesforce_bulk_fail", jobs.fail)
        salesforce.ingest_jobs.polls = jobs.polls
        salesforce.replication.most = int(body.get("salesforce_deleted_ids", 600_000))
        kept, late = body.get("salesforce_deleted_kept_hours", 360), "salesforce_deleted_behind"
        salesforce.replication.kept = timedelta(hours=float(kept))
        salesforce.replication.behind = timedelta(seconds=float(body.get(late, 0)))
        salesforce.objects.fields_told = bool(body.get("salesforce_fields_told", True))
        objects = body.get("salesforce_read_only", [])
        read_only(frozenset(name.lower() for name in objects))
        if "hubspot_scopes" in body:
            hubspot.oauth.scopes = tuple(body["hubspot_scopes"])
        salesforce.ingest_jobs.stop_after = body.get("salesforce_bulk_stop_after")
        salesforce.objects.duplicate_rule = body.get("salesforce_duplicate_rule", "off")
        hubspot.limits.forget()
        for name in ("per_ten_seconds", "search_per_second", "daily"):
            if f"hubspot_{name}" in body:
                setattr(hubspot.limits, name, body[f"hubspot_{name}"])
        if "hubspot_search_lag_seconds" in body:
            hubspot.search.lag = timedelta(seconds=float(body["hubspot_search_lag_seconds"]))
        for system, vendor in (("zendesk_", self.zendesk), ("sugarcrm_", self.sugarcrm)):
            asked = {n.removeprefix(system): v for n, v in body.items() if n.startswith(system)}
            vendor.limit(asked)
        return {}

    def state(self) -> dict[str, Any]:
        """What the world is, and how many records each table holds."""
        meta = self.world.tables.meta
        return {
            "people": meta["people"],
            "seed": meta["seed"],
            "today": self.world.today.isoformat(),
            "first_day": self.world.first.isoformat(),
            "now": self.clock.now().isoformat(),
            "events": str(self.world.files.folder),
            "truth": str(self.world.home / "truth.jsonl"),
            "refresh_token": REFRESH_TOKEN,
            "records": {
                name: sum(
                    not any(row.get(mark) for mark in _GONE)
                    for row in self.world.tables[name].rows.values()
                )
                for name in sorted(self.world.tables)
                if name.startswith(("salesforce.", "hubspot.", "zendesk.", "sugarcrm."))
            },
        }
