"""sObject collections: up to 200 records a call, one result a record, in the order sent.

Rules: "Create Records", "Update Records", "Upsert Records" and "Delete Records" of "sObject
Collections" in Salesforce's REST API Developer Guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdp_assets.connectors.base import ConnectorError, RowChange, RowOutcome
from cdp_assets.connectors.salesforce.client import SalesforceClient
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.connectors.salesforce.forms import normalised
from cdp_assets.connectors.salesforce.ids import long_id
from cdp_assets.connectors.salesforce.outcomes import of_result

BATCH = 200


def send(
    client: SalesforceClient,
    name: str,
    group: Sequence[RowChange],
    *,
    repeatable: bool | None = None,
) -> dict[int, RowOutcome]:
    """One call for rows of one op (and one key field); row number → outcome. repeatable:
    whether the same call twice does what it does once, by default what its op says.

    Raises what the session raises, and ConnectorError where the answer does not fit.
    """
    first = group[0]
    what = f"{first.op} of {len(group)} {name} records"
    if first.op == "delete":
        ids = ",".join(long_id(change.record_id or "") for change in group)
        params = {"ids": ids, "allOrNone": "false"}
        results = client.delete("/composite/sobjects", what=what, params=params)
    else:
        key = client.fields(name)[first.key_field] if first.key_field else None
        # Here, not in the address, where it is ignored.
        value = {"allOrNone": False, "records": [_record(name, c, key) for c in group]}
        method, path, again = _endpoint(name, first)
        again = again if repeatable is None else repeatable
        results = client.send(method, path, value, what=what, repeatable=again)
    if not isinstance(results, list) or len(results) != len(group):
        raise ConnectorError(
            f"{client.name}: {what}: the answer does not hold one result a row. Not retried. "
            "Read the records before writing again."
        )
    return {c.row: of_result(c, r) for c, r in zip(group, results, strict=True)}


def _endpoint(name: str, change: RowChange) -> tuple[str, str, bool]:
    """Method, path, and whether the same call twice does what it does once."""
    if change.op == "create":
        return "POST", "/composite/sobjects", False
    if change.op == "update":
        return "PATCH", "/composite/sobjects", True
    return "PATCH", f"/composite/sobjects/{name}/{change.key_field}", True


def _record(name: str, change: RowChange, key: SalesforceField | None) -> dict[str, Any]:
    record: dict[str, Any] = {"attributes": {"type": name}}
    if change.op == "update":
        record["Id"] = long_id(change.record_id or "")
    elif key is not None and change.key_value is not None:
        # Of an upsert this is the key; the record's own id beside it is refused.
        record[key.name] = normalised(key, change.key_value)
    return record | dict(own_fields(change))


def own_fields(change: RowChange) -> list[tuple[str, Any]]:
    """The fields that a row sets: without its id and its key, which have their own place."""
    apart = {"Id", "id", change.key_field}
    return [(name, value) for name, value in change.fields.items() if name not in apart]
