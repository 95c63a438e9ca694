"""Background jobs: what the `*_many` endpoints answer, and how they come to an end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply
from cdp_assets.sandbox.tables import Row
from cdp_assets.sandbox.zendesk.errors import ZendeskError, not_found
from cdp_assets.sandbox.zendesk.records import Records, bad_request
from cdp_assets.sandbox.zendesk.schema import Kind

LARGEST = 100
_KEPT = 3600.0
_RUNNING = 30
_Item = Mapping[str, Any]


class Jobs:
    """Jobs of this account. What a job does is done at once; its status says so after `polls`
    questions, and nobody answers for it an hour later.

    imports: whether users may be imported in bulk, which the vendor turns on.
    """

    def __init__(self, records: Records, clock: Clock) -> None:
        self.records = records
        self.clock = clock
        self.polls = 1
        self.imports = True
        self._jobs: dict[str, Row] = {}

    def create(self, kind: Kind, items: Sequence[_Item], url: str) -> Reply:
        """`create_many`."""

        def one(item: _Item, index: int) -> Row:
            key = self.records.create(kind, item)
            return {"id": int(key), "index": index, "action": "create", "success": True,
                    "status": "Created"}  # fmt: skip

        self._allowed(kind)
        return self._run(kind, "create", items, one, url)

    def create_or_update(self, kind: Kind, items: Sequence[_Item], url: str) -> Reply:
        """`create_or_update_many`: by external id, else by e-mail."""

        def one(item: _Item, index: int) -> Row:
            key, created = self.upsert(kind, item)
            told: Row = {"id": int(key), "index": index, "success": True}
            row = self.records.live(kind, key)
            told |= {"external_id": row["external_id"], "email": row.get("email")}
            verb = "create" if created else "update"
            return told | {"action": verb, "status": f"{verb.capitalize()}d"}

        self._allowed(kind)
        return self._run(kind, "create_or_update", items, one, url)

    def update(self, kind: Kind, items: Sequence[_Item], url: str) -> Reply:
        """`update_many` with a change for each."""

        def one(item: _Item, index: int) -> Row:
            key = str(item.get("id") or self._external(kind, item))
            self.records.update(kind, key, item)
            return {"id": int(key), "index": index, "action": "update", "success": True,
                    "status": "Updated"}  # fmt: skip

        return self._run(kind, "update", items, one, url)

    def delete(self, kind: Kind, ids: Sequence[str], url: str) -> Reply:
        """`destroy_many`."""

        def one(item: _Item, index: int) -> Row:
            self.records.delete(kind, str(item["id"]))
            return {"id": int(item["id"]), "index": index, "action": "delete", "success": True,
                    "status": "Deleted"}  # fmt: skip

        return self._run(kind, "delete", [{"id": i} for i in ids], one, url)

    def upsert(self, kind: Kind, item: _Item) -> tuple[str, bool]:
        """Create or update; returns the id and whether it was created. The external id of a found
        record takes the form in which it was asked for."""
        found = None
        if item.get("id"):
            found = str(item["id"])
            self.records.live(kind, found)
        elif item.get("external_id"):
            found = self.records.find(kind, "external_id", item["external_id"])
        if found is None and item.get("email"):
            found = self.records.find(kind, "email", item["email"])
            if found is not None and item.get("external_id"):
                own = self.records.live(kind, found)["external_id"]
                if own is not None and str(own).lower() != str(item["external_id"]).lower():
                    found = None
        if found is None:
            return self.records.create(kind, item), True
        self.records.update(kind, found, {k: v for k, v in item.items() if k != "email"})
        return found, False

    def status(self, key: str) -> Reply:
        """`/job_statuses/<key>`."""
        job = self._jobs.get(key)
        if job is None or self._now() - job["_made"] > _KEPT:
            raise not_found()
        if job["_polls"] > 0:
            job["_polls"] -= 1
            return Reply(body={"job_status": _shown(job) | {
                "status": "working", "progress": 0, "results": None, "message": None,
            }})  # fmt: skip
        return Reply(body={"job_status": _shown(job)})

    def _allowed(self, kind: Kind) -> None:
        if kind.name == "users" and not self.imports:
            raise ZendeskError(403, "Forbidden", "Bulk user imports are not enabled")

    def _external(self, kind: Kind, item: _Item) -> str:
        found = self.records.find(kind, "external_id", item.get("external_id"))
        if found is None:
            raise not_found()
        return found

    def _run(
        self, kind: Kind, verb: str, items: Sequence[_Item], one: Callable[[_Item, int], Row],
        url: str,
    ) -> Reply:  # fmt: skip
        if len(items) > LARGEST:
            raise ZendeskError(
                400, "TooManyValues", f"A maximum of {LARGEST} {kind.name} can be given"
            )
        if not items:
            raise bad_request(f"{kind.name}: nothing was given")
        running = [j for j in self._jobs.values() if j["_polls"] > 0]
        if len(running) >= _RUNNING:
            body = {"error": "TooManyJobs", "description": "Too many jobs are queued or running"}
            return Reply(429, body, {"Retry-After": "5"})
        results = []
        for index, item in enumerate(items):
            mark = self.records.tables.mark()
            try:
                if (code := self.records.rows.refusal()) is not None:
                    raise ZendeskError(409, code, "by order")
                results.append(one(item, index))
            except ZendeskError as error:
                self.records.tables.roll_back(mark)
                given = str(item["id"]) if item.get("id") else None
                results.append(error.result(verb, given, index))
        key = uuid.uuid4().hex
        self._jobs[key] = {
            "id": key, "job_type": f"Bulk {verb.replace('_', ' ').capitalize()} "
            f"{kind.one.capitalize()}", "url": f"{url}/api/v2/job_statuses/{key}.json",
            "total": len(items), "progress": len(items), "status": "completed",
            "message": f"Completed at {self.records.now()}",
            "results": self.records.rows.ordered(results),
            "_polls": self.polls, "_made": self._now(),
        }  # fmt: skip
        waiting = {"status": "queued", "progress": None, "message": None, "results": None}
        return Reply(body={"job_status": _shown(self._jobs[key]) | waiting}, rows=len(items))

    def _now(self) -> float:
        return self.clock.now().timestamp()


def _shown(job: Row) -> Row:
    return {name: value for name, value in job.items() if not name.startswith("_")}
