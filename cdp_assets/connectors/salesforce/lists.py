"""Campaigns of Salesforce as lists: made, looked up by name, and filled (see `ListDestination`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cdp_assets.connectors.base import Refused, RowChange, RowOutcome, WrongObject
from cdp_assets.connectors.salesforce import collections
from cdp_assets.connectors.salesforce.client import SalesforceClient, soql_string
from cdp_assets.connectors.salesforce.ids import is_id, long_id
from cdp_assets.connectors.salesforce.outcomes import GONE, refused

_MEMBER = "CampaignMember"
_FIELDS = {"003": "ContactId", "00Q": "LeadId"}
_THERE = "DUPLICATE_VALUE"
_LISTED = ("Contact", "Lead")
_FOUND = 150
"""Ids that the condition of one query holds."""


class SalesforceLists:
    """The campaigns of one org."""

    members_batch = collections.BATCH

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client

    def calls_for_members(self, add: int, remove: int) -> int:
        """Calls of `change_members` with so many: a look whether the campaign is there; of members
        to be added a call for 200; of those to be taken off one for 150 to find them and one for
        200 to delete them (of contacts and leads together, one more may be needed)."""
        adding = -(-add // collections.BATCH)
        removing = -(-remove // _FOUND) + -(-remove // collections.BATCH)
        return (1 if add or remove else 0) + adding + removing

    def list_id(self, name: str) -> str | None:
        """The campaign of this name (case does not count); None where there is none. Raises Refused
        for a deleted one, which is never made again, and for several."""
        # The text is quoted.
        soql = f"SELECT Id, IsDeleted FROM Campaign WHERE Name = {soql_string(name)}"  # noqa: S608
        found = list(self._client.query(soql, what="look for a campaign", deleted=True))
        live = [row for row in found if not row.get("IsDeleted")]
        if len(live) > 1:
            raise self._error(
                f"{len(live)} campaigns have this name. Not retried. Rename all but one.", 409
            )
        if found and not live:
            raise self._error(
                "the campaign of this name was deleted. Not retried, and never made again: restore "
                "it from the recycle bin, or name another one.", 404,
            )  # fmt: skip
        return long_id(str(live[0]["Id"])) if live else None

    def create_list(self, name: str, object_name: str) -> str:
        """Make an active campaign without members; one of that name that came about meanwhile is
        taken."""
        if object_name not in _LISTED:
            raise WrongObject(
                f"{self._client.name}: a campaign holds contacts and leads, no {object_name[:80]}. "
                "Not retried. Correct the sync's `object`."
            )
        if (there := self.list_id(name)) is not None:
            return there
        change = RowChange(0, "create", {"Name": name, "IsActive": True})
        outcome = collections.send(self._client, "Campaign", [change])[0]
        if not outcome.ok or outcome.record_id is None:
            raise self._error(
                f"the campaign was not made ({outcome.code}: {outcome.message}). Not retried. Give "
                "the app's user the right to create campaigns (`Marketing User`).", 403,
            )  # fmt: skip
        return outcome.record_id

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        """Ids of the campaign's contacts and leads, page by page."""
        key = self._known(list_id)
        soql = (
            f"SELECT ContactId, LeadId FROM {_MEMBER} "  # noqa: S608
            f"WHERE CampaignId = {soql_string(key)} ORDER BY Id"
        )
        for page in self._client.query_pages(soql, what="read a campaign"):
            # A lead that was converted is a member as the contact it became.
            ids = [row.get("ContactId") or row.get("LeadId") for row in page]
            yield [long_id(str(found)) for found in ids if found]

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        """Put contacts and leads on the campaign and take others off. Sent twice it does the same:
        one that is on it, or off it, already is ok."""
        key = self._known(list_id)
        outcomes: dict[int, RowOutcome] = {}
        rows = [long_id(record_id) for record_id in (*add, *remove)]
        for row, record_id in enumerate(rows):
            if not is_id(record_id) or record_id[:3] not in _FIELDS:
                outcomes[row] = refused(
                    RowChange(row, "update", {}, record_id=record_id), "INVALID_ID",
                    "this is no contact's and no lead's id", "data",
                )  # fmt: skip
        on = [row for row in range(len(add)) if row not in outcomes]
        off = [row for row in range(len(add), len(rows)) if row not in outcomes]
        self._add(key, {row: rows[row] for row in on}, outcomes)
        self._remove(key, {row: rows[row] for row in off}, outcomes)
        return [
            replace(outcomes[row], row=row, record_id=record_id, created=False)
            for row, record_id in enumerate(rows)
            if row in outcomes
        ]

    def _add(self, key: str, rows: dict[int, str], outcomes: dict[int, RowOutcome]) -> None:
        first = {record_id: row for row, record_id in reversed(rows.items())}
        changes = [
            RowChange(row, "create", {"CampaignId": key, _FIELDS[record_id[:3]]: record_id})
            for record_id, row in first.items()
        ]
        for part in _parts(changes):
            # A member twice is refused, so that a repeat makes none.
            done = collections.send(self._client, _MEMBER, part, repeatable=True)
            for row, outcome in done.items():
                if outcome.code == _THERE:
                    outcome = RowOutcome(row, True)
                elif outcome.code in GONE:  # of a member that is created: the contact or lead
                    outcome = replace(outcome, error_class="gone")
                outcomes[row] = outcome
        for row, record_id in rows.items():
            if first[record_id] in outcomes:
                outcomes.setdefault(row, outcomes[first[record_id]])

    def _remove(self, key: str, rows: dict[int, str], outcomes: dict[int, RowOutcome]) -> None:
        members: dict[str, str] = {}
        for prefix, field in _FIELDS.items():
            ids = sorted({i for i in rows.values() if i.startswith(prefix)})
            for at in range(0, len(ids), _FOUND):
                within = ",".join(soql_string(i) for i in ids[at : at + _FOUND])
                soql = (
                    f"SELECT Id, {field} FROM {_MEMBER} "  # noqa: S608
                    f"WHERE CampaignId = {soql_string(key)} AND {field} IN ({within})"
                )
                for member in self._client.query(soql, what="members of a campaign"):
                    members[long_id(str(member[field]))] = str(member["Id"])
        gone = [
            RowChange(row, "delete", {}, record_id=members[record_id])
            for row, record_id in rows.items()
            if record_id in members
        ]
        for row, record_id in rows.items():
            if record_id not in members:
                outcomes[row] = RowOutcome(row, True)
        for part in _parts(gone):
            outcomes.update(collections.send(self._client, _MEMBER, part))

    def _known(self, list_id: str) -> str:
        """The campaign's id, where it is one that is there."""
        key = long_id(list_id)
        if is_id(key):
            soql = f"SELECT Id FROM Campaign WHERE Id = {soql_string(key)}"  # noqa: S608
            if list(self._client.query(soql, what="look for a campaign")):
                return key
        raise self._error(
            "the campaign is gone: somebody deleted it. Not retried, and never made again: restore "
            "it from the recycle bin, or end its sync.", 404,
        )  # fmt: skip

    def _error(self, text: str, status: int) -> Refused:
        return Refused(f"{self._client.name}: campaigns: {text}", status=status)


def _parts(changes: Sequence[RowChange]) -> Iterator[Sequence[RowChange]]:
    for at in range(0, len(changes), collections.BATCH):
        yield changes[at : at + collections.BATCH]
