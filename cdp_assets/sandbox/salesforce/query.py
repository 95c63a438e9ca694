"""Running a SOQL tree over the tables: filters, sorts, groups, renders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.salesforce.binding import Binder, Column, follow, sort_key
from cdp_assets.sandbox.salesforce.errors import SalesforceError
from cdp_assets.sandbox.salesforce.fields import SObject
from cdp_assets.sandbox.salesforce.schema import OBJECTS
from cdp_assets.sandbox.salesforce.soql import Query, parse, position
from cdp_assets.sandbox.tables import Row, Tables


@dataclass
class Result:
    """What a query found. ids: matching records in order; rows: aggregate rows, if it has any."""

    object: SObject
    columns: list[Column]
    ids: list[str]
    rows: list[Row] | None = None
    total: int = 0


class QueryEngine:
    """Runs queries over the org's tables."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.clock = clock

    def run(self, text: str, *, deleted_too: bool = False) -> Result:
        """What `text` finds; deleted records count only with `deleted_too` (queryAll).

        Raises SalesforceError for what Salesforce would refuse.
        """
        query = parse(text)
        spec = OBJECTS.get(query.object_name.lower())
        if spec is None:
            raise SalesforceError(
                400,
                "INVALID_TYPE",
                f"{position(text, query.object_at)}sObject type '{query.object_name}' is not "
                "supported. If you are attempting to use a custom object, be sure to append the "
                "'__c' after the entity name. Please reference your WSDL or the describe call for "
                "the appropriate names.",
            )
        binder = Binder(self.tables, self.clock, query, spec)
        keep = binder.condition(query.where) if query.where is not None else None
        table = self.tables[f"salesforce.{spec.name}"]
        rows: Iterable[Row] = table.rows.values()
        # An object without the field shows what was deleted to nobody.
        if not deleted_too or "isdeleted" not in spec.by_name:
            rows = (row for row in rows if not row.get("IsDeleted"))
        found = [row for row in rows if keep(row)] if keep is not None else list(rows)
        if query.group or any(item.aggregate for item in query.selected):
            return self._aggregate(query, spec, binder, found)
        columns = [c for item in query.selected for c in binder.selected(item)]
        for order in reversed(query.order):
            field, get = binder.path(order.path, order.at)
            present = [row for row in found if get(row) is not None]
            absent = [row for row in found if get(row) is None]
            present.sort(key=sort_key(field, get), reverse=order.descending)
            found = present + absent if order.nulls_last else absent + present
        if query.offset:
            found = found[query.offset :]
        if query.limit is not None:
            found = found[: query.limit]
        return Result(spec, columns, [row["Id"] for row in found], total=len(found))

    def render(self, result: Result, ids: list[str], version: str) -> list[Row]:
        """The records of one page."""
        table = self.tables[f"salesforce.{result.object.name}"].rows
        name = result.object.name
        url = f"/services/data/v{version}/sobjects/{name}/"
        flat = all(len(column.steps) == 1 for column in result.columns)
        names = [(column.steps[0], column.get) for column in result.columns] if flat else []
        out = []
        for key in ids:
            row = table[key]
            shown: Row = {"attributes": {"type": name, "url": url + key}}
            if flat:
                for step, get in names:
                    shown[step] = get(row)
            else:
                for column in result.columns:
                    self._place(shown, row, column, result.object, version)
            out.append(shown)
        return out

    def _place(self, shown: Row, row: Row, column: Column, spec: SObject, version: str) -> None:
        target, source, here = shown, row, spec
        for step in column.steps[:-1]:
            link = here.by_relationship[step.lower()]
            parent, parent_spec = follow(self.tables, source, link)
            if parent is None or parent_spec is None:
                target[step] = None
                return
            if target.get(step) is None:
                url = f"/services/data/v{version}/sobjects/{parent_spec.name}/{parent['Id']}"
                target[step] = {"attributes": {"type": parent_spec.name, "url": url}}
            target, source, here = target[step], parent, parent_spec
        target[column.steps[-1]] = column.get(row)

    def _aggregate(self, query: Query, spec: SObject, binder: Binder, found: list[Row]) -> Result:
        if len(query.selected) == 1 and query.selected[0].aggregate == "count" and (
            not query.selected[0].path and not query.group
        ):  # fmt: skip
            return Result(spec, [], [], rows=[], total=len(found))
        keys = [binder.path(path, 0)[1] for path in query.group]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        if not keys:
            groups[()] = []
        for row in found:
            groups.setdefault(tuple(get(row) for get in keys), []).append(row)
        rows: list[Row] = []
        for _, members in sorted(groups.items(), key=lambda kv: [str(v) for v in kv[0]]):
            shown: Row = {"attributes": {"type": "AggregateResult"}}
            number = 0
            for item in query.selected:
                if item.aggregate is None:
                    if item.path.lower() not in {path.lower() for path in query.group}:
                        raise SalesforceError(
                            400,
                            "MALFORMED_QUERY",
                            f"{position(query.text, item.at)}Field must be grouped or "
                            f"aggregated: {item.path}",
                        )
                    shown[item.alias or item.path] = binder.path(item.path, item.at)[1](members[0])
                    continue
                name = item.alias or f"expr{number}"
                number += item.alias is None
                shown[name] = binder.aggregate(item, members)
            rows.append(shown)
        if query.limit is not None:
            rows = rows[: query.limit]
        return Result(spec, [], [], rows=rows, total=len(rows))
