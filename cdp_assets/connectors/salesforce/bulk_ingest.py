"""Ingest jobs of Bulk API 2.0: thousands of rows as one CSV, worked on by the org by itself.

In the CSV an empty cell leaves a field alone and `#N/A` clears it, where REST has an absent key
and null. Rules: "Create a Job", "Upload Job Data", "Get Job Successful Record Results" and its two
siblings, and "Prepare CSV Files" in Salesforce's Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from cdp_assets.connectors.base import (
    ConnectorError,
    NotPermitted,
    Refused,
    RowChange,
    RowOutcome,
    Unavailable,
    UnknownOutcome,
)
from cdp_assets.connectors.salesforce.bulk_query import JOB, JobInfo, NotTaken, wait_for
from cdp_assets.connectors.salesforce.client import SalesforceClient
from cdp_assets.connectors.salesforce.collections import own_fields
from cdp_assets.connectors.salesforce.forms import normalised
from cdp_assets.connectors.salesforce.ids import long_id
from cdp_assets.connectors.salesforce.outcomes import of_error, written

BATCH = 10_000
"""Rows a job is given: what the org works on at once."""
CALLS = 8
"""Of one job: made, filled, begun, asked for once, three results, taken away."""
CLEAR = "#N/A"
_LARGEST = 100_000_000
"""Bytes of a job's CSV; the org takes 150 MB of it in base64."""
_UPLOADS = 3
_RESULTS: Mapping[str, tuple[str, ...]] = {
    "successfulResults": ("sf__Id", "sf__Created"),
    "failedResults": ("sf__Id", "sf__Error"),
    "unprocessedrecords": (),
}


def fits(client: SalesforceClient, name: str, change: RowChange) -> bool:
    """Whether a row can stand in a CSV without changing its meaning, or harming the others: one
    column that the org does not know makes a whole job fail."""
    fields = client.fields(name)
    for field_name, value in own_fields(change):
        if isinstance(value, Mapping):
            if len(value) != 1 or not all(_plain(v) for v in value.values()):
                return False
            continue
        field = fields.get(field_name)
        if field is None or not field.updateable:
            return False
        if not _plain(value):
            return False
    return change.op == "delete" or bool(own_fields(change))


def _plain(value: Any) -> bool:
    if isinstance(value, str):
        return value != CLEAR and "\x00" not in value
    return value is None or isinstance(value, bool | int | float | Decimal)


def send(
    client: SalesforceClient, name: str, group: Sequence[RowChange]
) -> tuple[dict[int, RowOutcome], list[RowChange]]:
    """One job for rows of one op (and one key field): row number → outcome, and the rows that the
    org did nothing with. Rows that the job's results leave out are in neither.

    Raises NotTaken where the org makes no such job; ConnectorError where nothing is known of any
    row.
    """
    header, lines = table(client, name, group)
    data = _csv(header, lines)
    if len(data) > _LARGEST and len(group) > 1:
        half = len(group) // 2
        done, left = send(client, name, group[:half])
        more, rest = send(client, name, group[half:])
        return done | more, left + rest
    what = f"Bulk {group[0].op} of {len(group)} {name} records"
    path = _uploaded(client, name, group[0], data, what)
    job = _finished(client, path, what)
    if job.state != "JobComplete" and job.number_records_processed == 0:
        # One column or value was taken amiss for the whole job (`InvalidBatch`), or it was stopped.
        done, left = {}, list(group)
    else:
        done, left = _results(client, path, header, lines, group, what)
    with contextlib.suppress(ConnectorError):
        client.delete(path, what=what)
    if not done and not left:
        raise UnknownOutcome(
            f"{client.name}: {what}: the job's results name none of the rows. They may or may not "
            "have been written, so they are not sent again; the ledger decides by looking."
        )
    return done, left


def table(
    client: SalesforceClient, name: str, group: Sequence[RowChange]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the CSV; the first column is the row's key, no two of which are alike."""
    first = group[0]
    key = client.fields(name)[first.key_field] if first.op == "upsert" and first.key_field else None
    columns = list(dict.fromkeys(_column(n, v) for c in group for n, v in own_fields(c)))
    lines = []
    for change in group:
        cells = {_column(n, v): _cell(v) for n, v in own_fields(change)}
        lead = (
            long_id(change.record_id or "")
            if key is None
            else _cell(normalised(key, change.key_value))
        )
        lines.append([lead, *(cells.get(column, "") for column in columns)])
    return ["Id" if key is None else key.name, *columns], lines


def _column(name: str, value: Any) -> str:
    """`Account.Workspace_Id__c` for a reference that is told by an external id."""
    return f"{name}.{next(iter(value))}" if isinstance(value, Mapping) else name


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = next(iter(value.values()))
    if value is None or (isinstance(value, float) and value != value):
        return CLEAR
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else str(value)
    return text if text.strip() else CLEAR


def _csv(header: Sequence[str], lines: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(lines)
    return out.getvalue().encode()


def _uploaded(client: SalesforceClient, name: str, first: RowChange, data: bytes, what: str) -> str:
    """Path of a job that holds the data. A job that was not told to begin never does anything:
    where an answer is lost it is left, and another one made."""
    asked = {
        "object": name, "operation": first.op, "contentType": "CSV",
        "columnDelimiter": "COMMA", "lineEnding": "LF",
    }  # fmt: skip
    if first.op == "upsert":
        asked["externalIdFieldName"] = first.key_field or "Id"
    for attempt in range(_UPLOADS):
        try:
            made = client.send(
                "POST", "/jobs/ingest", asked, what=what, repeatable=True, decode=JOB
            )
        except (Refused, NotPermitted) as no:
            raise NotTaken(", ".join(getattr(no, "codes", ())) or "not permitted") from None
        path = f"/jobs/ingest/{made.id}"
        try:
            client.upload(f"{path}/batches", data, what=what)
        except UnknownOutcome:
            _abort(client, path, what)
            if attempt + 1 == _UPLOADS:
                raise Unavailable(
                    f"{client.name}: {what}: the upload's answer was lost {_UPLOADS} times. "
                    "Nothing was written; a later run sends the rows again."
                ) from None
            continue
        except ConnectorError:
            _abort(client, path, what)
            raise
        return path
    raise AssertionError("unreachable")


def _finished(client: SalesforceClient, path: str, what: str) -> JobInfo:
    """The job's last state, after it was told to begin. One that takes too long is stopped: what
    it did until then is in its results as well."""
    state = {"state": "UploadComplete"}
    try:
        client.send("PATCH", path, state, what=what, repeatable=True)
    except Refused:
        # Told before, by a call whose answer was lost; if not, it stays open.
        job = client.get(path, what=what, decode=JOB)
        if job.state in {"Open", "Aborted"}:
            _abort(client, path, what)
            raise
    except ConnectorError:
        # Nobody knows whether it began: best that it does not.
        _abort(client, path, what)
        raise
    try:
        return wait_for(client, path, what=what)
    except Unavailable:
        _abort(client, path, what)
        return wait_for(client, path, what=what)


def _abort(client: SalesforceClient, path: str, what: str) -> None:
    with contextlib.suppress(ConnectorError):
        client.send("PATCH", path, {"state": "Aborted"}, what=what, repeatable=True)


def _results(
    client: SalesforceClient,
    path: str,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    group: Sequence[RowChange],
    what: str,
) -> tuple[dict[int, RowOutcome], list[RowChange]]:
    """Outcomes, and the rows that the org did not come to. Results come in any order and name no
    row: they are told by the key, which they repeat."""
    waiting = {line[0]: change for line, change in zip(lines, group, strict=True)}
    outcomes: dict[int, RowOutcome] = {}
    left = []
    for kind, lead in _RESULTS.items():
        decode = functools.partial(_read, columns=(*lead, *header))
        records = client.get(f"{path}/{kind}", what=what, decode=decode, accept="text/csv")
        for record in records:
            change = waiting.pop(record.get(header[0], ""), None)
            if change is None:
                continue
            if kind == "successfulResults":
                created = record.get("sf__Created") == "true"
                outcomes[change.row] = written(change, record.get("sf__Id", ""), created=created)
            elif kind == "failedResults":
                outcomes[change.row] = of_error(change, record.get("sf__Error", ""))
            else:
                left.append(change)
    return outcomes, left


def _read(body: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    """The records of a result; raises DecodeError where it is no table of these columns, as the
    page of a proxy is none."""
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, None)
        if header is not None and set(header) != set(columns):
            raise msgspec.DecodeError("no table of results")
        return [dict(zip(header or (), line, strict=True)) for line in lines if line]
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise msgspec.DecodeError("no table of results") from None


def parts(group: Sequence[RowChange], size: int) -> Iterator[Sequence[RowChange]]:
    """The rows in parts of at most `size`."""
    for at in range(0, len(group), size):
        yield group[at : at + size]
