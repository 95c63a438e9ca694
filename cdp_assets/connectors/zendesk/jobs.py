"""Background jobs ("Job Statuses"): waited for, and told apart row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cdp_assets.connectors.base import (
    ConnectorError,
    ErrorClass,
    Refused,
    RowChange,
    RowOutcome,
    UnknownOutcome,
)
from cdp_assets.connectors.redaction import redact
from cdp_assets.connectors.zendesk.client import ZendeskClient, read_error

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_DONE, _FAILED = "completed", frozenset({"failed", "killed"})
_CLASSES: tuple[tuple[re.Pattern[str], ErrorClass], ...] = (
    # By its code: in a text it is any value that may not have been found.
    (re.compile(r"(?i)^\S*not\s?found\b|does not exist$"), "gone"),
    (re.compile(r"(?i)duplicate|taken|already (being used|exists|in use)"), "conflict"),
    (re.compile(r"(?i)forbidden|permission|not allowed|unauthor"), "permission"),
    (re.compile(r"(?i)timeout|unavailable|try again|conflict|rate.?limit|too many"), "retry"),
)  # fmt: skip


class Result(msgspec.Struct):
    """What became of one row. A failed one says why in `error` and `details`."""

    id: int | None = None
    index: int | None = None
    success: bool | None = None
    error: Any = None
    errors: Any = None
    details: Any = None
    action: str = ""
    status: Any = None
    external_id: str | None = None
    email: str | None = None


class _Job(msgspec.Struct):
    id: str
    status: str = "queued"
    message: str | None = None
    results: list[Result] | dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    job_status: _Job


class Jobs:
    """Jobs of one account."""

    def __init__(self, client: ZendeskClient) -> None:
        self._client = client
        self.decode = msgspec.json.Decoder(_Answer).decode

    def outcomes(
        self, what: str, answer: _Answer, group: Sequence[RowChange], ids: Mapping[int, str]
    ) -> dict[int, RowOutcome]:
        """Wait for a job's end; one outcome a row that it names.

        ids: row → record, where the change itself names none.
        Raises UnknownOutcome where nobody says any more what became of the job.
        """
        job = self._ended(what, answer.job_status)
        if isinstance(job.results, dict):
            # A job of one action says of all rows at once whether it was done.
            done = bool(job.results.get("success", job.status == _DONE))
            whole = [Result(index=i, success=done) for i in range(len(group))]
            return self._told(whole, group, ids)
        if not job.results:
            if job.status in _FAILED:
                return {c.row: _nothing(c, "JOB_FAILED") for c in group if c.op != "create"}
            return {c.row: _nothing(c, "NO_RESULT") for c in group if c.op != "create"}
        return self._told(job.results, group, ids)

    def _ended(self, what: str, job: _Job) -> _Job:
        options = self._client.options
        until = options.monotonic() + self._client.config.job_patience.total_seconds()
        wait, waited = _FIRST_WAIT, 0.0
        while job.status != _DONE and job.status not in _FAILED:
            # Both clocks count: one may stand still in a test, the other in a suspended machine.
            if options.monotonic() > until or waited > self._client.config.job_patience.seconds:
                raise self._unknown(what, "its job has not ended in time")
            options.sleep(wait)
            waited, wait = waited + wait, min(wait * 1.5, _LONGEST_WAIT)
            try:
                path = f"/job_statuses/{job.id}.json"
                job = self._client.get(path, what=f"job of {what}", decode=self.decode).job_status
            except ConnectorError:
                raise self._unknown(what, "its job is no longer answered for") from None
        return job

    def _unknown(self, what: str, trouble: str) -> UnknownOutcome:
        return UnknownOutcome(
            f"{self._client.name}: {what}: {trouble}. It may or may not have taken effect, so it "
            "is not sent again; the ledger decides by looking."
        )

    def _told(
        self, results: Sequence[Result], group: Sequence[RowChange], ids: Mapping[int, str]
    ) -> dict[int, RowOutcome]:
        by_id = {ids.get(c.row, c.record_id): c for c in group}
        by_key = {(c.key_value or "").casefold(): c for c in group if c.key_field}
        outcomes: dict[int, RowOutcome] = {}
        for result in results:
            change = None
            if result.index is not None and 0 <= result.index < len(group):
                change = group[result.index]
            change = change or by_id.get(str(result.id))
            for key in (result.external_id, result.email):
                change = change or by_key.get((key or "").casefold())
            if change is None and len(group) == len(results) == 1:
                change = group[0]
            if change is None and _failed_result(result) and group[0].op in ("create", "upsert"):
                # Of a row that made no record some jobs tell the place as its id.
                place = result.id if result.id is not None else len(group)
                change = group[place] if 0 <= place < len(group) else None
            if change is not None:
                known = ids.get(change.row, change.record_id)
                outcomes[change.row] = _outcome(change, result, known)
        for change in group:
            if change.row not in outcomes and change.op != "create":
                outcomes[change.row] = _nothing(change, "NO_RESULT")
        return outcomes


def refused_row(change: RowChange, refused: Refused) -> RowOutcome:
    """A row whose own request was refused."""
    codes, text = read_error(refused.body)
    return _failed(change, codes or (f"HTTP_{refused.status}",), text, change.record_id)


def _failed_result(result: Result) -> bool:
    told = result.error is not None or str(result.status).lower() == "failed"
    return result.success is False or (result.success is None and told)


def _outcome(change: RowChange, result: Result, known: str | None) -> RowOutcome:
    record_id = str(result.id) if result.id else known
    if not _failed_result(result):
        created = change.op == "create" or result.action == "create" or (
            change.op == "upsert" and str(result.status).lower() == "created"
        )  # fmt: skip
        return RowOutcome(change.row, True, record_id, created)
    text = " ".join(str(t) for t in (result.details, result.errors) if t)
    return _failed(change, (str(result.error or "UNKNOWN"),), text, known)


def _failed(
    change: RowChange, codes: Sequence[str], text: str, record_id: str | None
) -> RowOutcome:
    said = " ".join([*codes, text])
    kind: ErrorClass = next((found for pattern, found in _CLASSES if pattern.search(said)), "data")
    if kind == "gone" and change.op == "delete":
        return RowOutcome(change.row, True, record_id)
    values = [*change.fields.values(), change.key_value, change.record_id]
    code = redact(codes[0], values).split(":")[0][:60] or "UNKNOWN"
    return RowOutcome(
        change.row, False, record_id, error_class=kind, code=code,
        message=redact(text, values) or "refused without a reason",
    )  # fmt: skip


def _nothing(change: RowChange, code: str) -> RowOutcome:
    return RowOutcome(
        change.row, False, change.record_id, error_class="retry", code=code,
        message="the job does not say what became of this row; it is read before it is sent again",
    )  # fmt: skip
