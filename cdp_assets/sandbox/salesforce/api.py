"""The REST API of the stand-in org: which path does what."""

from __future__ import annotations

import re
import urllib.parse
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.binding import reader
from cdp_assets.sandbox.salesforce.bulk_ingest import IngestJobs
from cdp_assets.sandbox.salesforce.bulk_query import QueryJobs
from cdp_assets.sandbox.salesforce.collections import Collections
from cdp_assets.sandbox.salesforce.composite import Composite
from cdp_assets.sandbox.salesforce.describe import (
    basic_information,
    describe,
    describe_global,
)
from cdp_assets.sandbox.salesforce.errors import SalesforceError, not_found
from cdp_assets.sandbox.salesforce.fields import SObject
from cdp_assets.sandbox.salesforce.ids import full_id
from cdp_assets.sandbox.salesforce.oauth import OAuth
from cdp_assets.sandbox.salesforce.objects import Objects
from cdp_assets.sandbox.salesforce.query import QueryEngine, Result
from cdp_assets.sandbox.salesforce.replication import Replication
from cdp_assets.sandbox.salesforce.schema import OBJECTS
from cdp_assets.sandbox.tables import Row, Tables

VERSIONS = tuple(f"{number}.0" for number in range(52, 67))
_LABELS = ("Spring", "Summer", "Winter")
_RESOURCES = (
    "tooling", "sobjects", "query", "queryAll", "limits", "composite", "search", "jobs",
)  # fmt: skip
_LOCATORS = 20
_DAILY_LIMIT = 5_000_000

Handler = Callable[[Request, str, re.Match[str]], Reply]


class SalesforceApi:
    """Answers requests. `handle` is a plain function of a request, safe to call one at a time."""

    def __init__(self, tables: Tables, clock: Clock, oauth: OAuth) -> None:
        self.tables = tables
        self.clock = clock
        self.oauth = oauth
        self.objects = Objects(tables, clock)
        self.queries = QueryEngine(tables, clock)
        self.daily_limit = _DAILY_LIMIT
        self.calls = 0
        self._locators: OrderedDict[str, Result] = OrderedDict()
        self.replication = Replication(self.objects, clock)
        collections = Collections(self.objects)
        composite = Composite(self._routed)
        self.query_jobs = jobs = QueryJobs(self.queries, clock)
        self.ingest_jobs = ingest = IngestJobs(self.objects, clock)
        results = "(?P<kind>(?i:successfulResults|failedResults|unprocessedRecords))"
        name, key = r"(?P<name>\w+)", r"(?P<key>[^/]+)"
        job = r"(?P<job>\w+)"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern + "/?"), handler)
            for method, pattern, handler in (
                ("GET", "", self._resources),
                ("GET", "/sobjects", lambda r, v, m: Reply(body=describe_global(v))),
                ("GET", f"/sobjects/{name}/describe", self._describe),
                ("GET", f"/sobjects/{name}/(?P<kind>deleted|updated)", self.replication.changed),
                ("GET", f"/sobjects/{name}", self._about),
                ("POST", f"/sobjects/{name}", self._create),
                ("GET", f"/sobjects/{name}/{key}", self._get),
                ("PATCH", f"/sobjects/{name}/{key}", self._update),
                ("DELETE", f"/sobjects/{name}/{key}", self._delete),
                ("GET", f"/sobjects/{name}/(?P<field>\\w+)/{key}", self._get_external),
                ("PATCH", f"/sobjects/{name}/(?P<field>\\w+)/{key}", self._upsert),
                ("POST", f"/sobjects/{name}/(?P<field>\\w+)/{key}", self._upsert),
                ("DELETE", f"/sobjects/{name}/(?P<field>\\w+)/{key}", self._delete_external),
                ("GET", "/(?P<kind>query|queryAll)", self._query),
                ("GET", "/(?P<kind>query|queryAll)/(?P<locator>[\\w-]+)", self._more),
                ("GET", "/limits", self._limits),
                ("GET", "/limits/recordCount", self._record_count),
                ("POST", "/composite/sobjects", collections.create),
                ("PATCH", "/composite/sobjects", collections.update),
                ("DELETE", "/composite/sobjects", collections.delete),
                ("GET", f"/composite/sobjects/{name}", collections.retrieve),
                ("POST", f"/composite/sobjects/{name}", collections.retrieve),
                ("PATCH", f"/composite/sobjects/{name}/(?P<field>\\w+)", collections.upsert),
                ("POST", "/composite", composite.composite),
                ("POST", "/composite/batch", composite.batch),
                ("POST", "/jobs/query", jobs.create),
                ("GET", "/jobs/query", jobs.all),
                ("GET", f"/jobs/query/{job}", jobs.get),
                ("PATCH", f"/jobs/query/{job}", jobs.change),
                ("DELETE", f"/jobs/query/{job}", jobs.delete),
                ("GET", f"/jobs/query/{job}/results", jobs.results),
                ("GET", f"/jobs/query/{job}/resultPages", jobs.pages),
                ("POST", "/jobs/ingest", ingest.create),
                ("GET", "/jobs/ingest", ingest.all),
                ("PUT", f"/jobs/ingest/{job}/batches", ingest.upload),
                ("GET", f"/jobs/ingest/{job}", ingest.get),
                ("PATCH", f"/jobs/ingest/{job}", ingest.change),
                ("DELETE", f"/jobs/ingest/{job}", ingest.delete),
                ("GET", f"/jobs/ingest/{job}/{results}", ingest.results),
            )
        ]

    def handle(self, request: Request) -> Reply:
        """The answer to one request; changes are on disk when it returns."""
        path = request.path.rstrip("/")
        if path == "/services/oauth2/token":
            return self.oauth.token(request) if request.method == "POST" else _as_reply(not_found())
        if path == "/services/data":
            return Reply(body=[_version(version) for version in VERSIONS])
        if not self.oauth.valid(request):
            error = {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}
            return Reply(401, [error])
        self.calls += 1
        if self.calls > self.daily_limit:
            message = "TotalRequests Limit exceeded."
            return Reply(403, [{"message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
        rule = request.headers.get("sforce-duplicate-rule-header", "")
        self.objects.allow_save = "allowsave=true" in rule.lower().replace(" ", "")
        reply = self._routed(request)
        self.tables.commit()
        reply.headers["Sforce-Limit-Info"] = f"api-usage={self.calls}/{self.daily_limit}"
        return reply

    def _routed(self, request: Request) -> Reply:
        found = re.match(r"/services/data/v(\d+\.\d)(/.*)?$", request.path)
        if found is None or found[1] not in VERSIONS:
            return _as_reply(not_found())
        rest = (found[2] or "").rstrip("/")
        wrong_method = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(rest)
            if match is None:
                continue
            if method != request.method:
                wrong_method = True
                continue
            try:
                return handler(request, found[1], match)
            except SalesforceError as error:
                return _as_reply(error)
        if wrong_method:
            message = f"HTTP Method '{request.method}' not allowed."
            return Reply(405, [{"message": message, "errorCode": "METHOD_NOT_ALLOWED"}])
        return _as_reply(not_found())

    def expire_locators(self) -> None:
        """Forget all query cursors, as the real thing does after a while."""
        self._locators.clear()

    # ----- about the org

    def _resources(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        base = f"/services/data/v{version}/"
        return Reply(body={name: base + name for name in _RESOURCES})

    def _limits(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        left = self.daily_limit - self.calls
        return Reply(
            body={
                "DailyApiRequests": {"Max": self.daily_limit, "Remaining": left},
                "DataStorageMB": {"Max": 10240, "Remaining": 10000},
            }
        )

    def _record_count(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        names = [n for n in request.query.get("sObjects", "").split(",") if n]
        counts = []
        for spec in OBJECTS.values():
            rows = self.objects.table(spec).rows.values()
            count = sum(1 for row in rows if not row.get("IsDeleted"))
            if count and (not names or spec.name in names):
                counts.append({"count": count, "name": spec.name})
        return Reply(body={"sObjects": counts})

    def _describe(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        return Reply(body=describe(self.objects.spec(match["name"]).name, version))

    def _about(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        return Reply(body=basic_information(self.objects.spec(match["name"]).name, version))

    # ----- reading

    def _query(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        text = request.query.get("q")
        if not text:
            raise SalesforceError(400, "MALFORMED_QUERY", "A query string has to be specified")
        result = self.queries.run(text, deleted_too=match["kind"] == "queryAll")
        if result.rows is not None:
            body = {"totalSize": result.total, "done": True, "records": result.rows}
            return Reply(body=body, rows=len(result.rows))
        locator = f"01g5g{self.calls:010x}"
        if len(result.ids) > self.objects.rows.most(_page_size(request)):
            self._locators[locator] = result
            while len(self._locators) > _LOCATORS:
                self._locators.popitem(last=False)
        return self._page(request, version, match["kind"], locator, result, 0)

    def _more(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        locator, _, start = match["locator"].partition("-")
        result = self._locators.get(locator)
        if result is None or not start.isdigit():
            raise SalesforceError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, version, match["kind"], locator, result, int(start))

    def _page(
        self, request: Request, version: str, kind: str, locator: str, result: Result, start: int
    ) -> Reply:
        end = min(start + self.objects.rows.most(_page_size(request)), len(result.ids))
        records = self.queries.render(result, result.ids[start:end], version)
        body: Row = {"totalSize": result.total, "done": end == len(result.ids)}
        if not body["done"]:
            body["nextRecordsUrl"] = f"/services/data/v{version}/{kind}/{locator}-{end}"
        return Reply(body=body | {"records": records}, rows=len(records))

    def _get(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        spec = self.objects.spec(match["name"])
        key = full_id(match["key"])
        row = self.objects.table(spec).get(key) if key else None
        if row is None or row.get("IsDeleted"):
            raise not_found()
        return self._shown(request, version, spec, row)

    def _get_external(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        spec, rows = self._external(match)
        if not rows:
            raise not_found()
        if len(rows) > 1:
            return _several(spec, rows, version)
        return self._shown(request, version, spec, rows[0])

    def _shown(self, request: Request, version: str, spec: SObject, row: Row) -> Reply:
        names = [n for n in request.query.get("fields", "").split(",") if n]
        fields = [f.name for f in spec.fields]
        if names:
            fields = ["Id"]
            for name in names:
                field = spec.by_name.get(name.strip().lower())
                if field is None:
                    raise SalesforceError(
                        400,
                        "INVALID_FIELD",
                        f"No such column '{name}' on sobject of type {spec.name}",
                    )
                fields.append(field.name)
        url = f"/services/data/v{version}/sobjects/{spec.name}/{row['Id']}"
        body: Row = {"attributes": {"type": spec.name, "url": url}}
        shown = {name: reader(self.tables, spec.by_name[name.lower()])(row) for name in fields}
        return Reply(body=body | shown, rows=1)

    # ----- writing

    def _create(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        spec = self.objects.spec(match["name"])
        key = self.objects.create(spec, json_object(request))
        headers = {"Location": f"/services/data/v{version}/sobjects/{spec.name}/{key}"}
        return Reply(201, {"id": key, "success": True, "errors": []}, headers, rows=1)

    def _update(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        fields = json_object(request)
        if "Id" in fields:
            raise SalesforceError(
                400, "INVALID_FIELD", "The Id field should not be specified in the sobject data."
            )
        self.objects.update(self.objects.spec(match["name"]), match["key"], fields)
        return Reply(204, rows=1)

    def _delete(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        self.objects.delete(self.objects.spec(match["name"]), match["key"])
        return Reply(204, rows=1)

    def _upsert(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        if request.method == "POST" and request.query.get("_HttpMethod") != "PATCH":
            raise not_found()
        spec, rows = self._external(match)
        field = self.objects.external_field(spec, match["field"])
        fields = json_object(request)
        if "Id" in fields or field.name in fields:
            name = "Id" if "Id" in fields else field.name
            raise SalesforceError(
                400,
                "INVALID_FIELD",
                f"The {name} field should not be specified in the sobject data.",
            )
        if len(rows) > 1:
            return _several(spec, rows, version)
        if rows:
            key, status = rows[0]["Id"], 200
            self.objects.update(spec, key, fields)
        else:
            value = urllib.parse.unquote(match["key"])
            if request.query.get("updateOnly") == "true" or field.type == "id":
                raise not_found()
            key, status = self.objects.create(spec, fields | {field.name: value}), 201
        created = status == 201
        return Reply(status, {"id": key, "success": True, "errors": [], "created": created}, rows=1)

    def _delete_external(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        spec, rows = self._external(match)
        if not rows:
            raise not_found()
        if len(rows) > 1:
            return _several(spec, rows, version)
        self.objects.delete(spec, rows[0]["Id"])
        return Reply(204, rows=1)

    def _external(self, match: re.Match[str]) -> tuple[SObject, list[Row]]:
        spec = self.objects.spec(match["name"])
        field = self.objects.external_field(spec, match["field"])
        value = urllib.parse.unquote(match["key"])
        return spec, self.objects.by_external_id(spec, field, value)


def json_object(request: Request) -> Row:
    """The body as an object; JSON_PARSER_ERROR for anything else."""
    try:
        body: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise SalesforceError(400, "JSON_PARSER_ERROR", str(error)) from None
    if not isinstance(body, dict):
        raise SalesforceError(400, "JSON_PARSER_ERROR", "Unexpected START_ARRAY")
    return body


def _as_reply(error: SalesforceError) -> Reply:
    return Reply(error.status, error.body())


def _several(spec: SObject, rows: list[Row], version: str) -> Reply:
    base = f"/services/data/v{version}/sobjects/{spec.name}/"
    return Reply(300, [base + row["Id"] for row in rows])


def _version(version: str) -> Row:
    number = int(version.split(".")[0])
    label = f"{_LABELS[(number - 52) % 3]} '{21 + (number - 52 + 2) // 3:02d}"
    return {"label": label, "url": f"/services/data/v{version}", "version": version}


def _page_size(request: Request) -> int:
    found = re.search(r"batchSize=(\d+)", request.headers.get("sforce-query-options", ""))
    return min(2000, max(200, int(found[1]))) if found else 2000
