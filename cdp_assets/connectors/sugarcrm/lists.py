"""Target lists of contacts as lists ("ProspectLists")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from cdp_assets.connectors.base import Refused, RowOutcome, WrongObject
from cdp_assets.connectors.sugarcrm.client import Call, SugarClient

_MODULE, _LINK = "ProspectLists", "contacts"


class _Record(msgspec.Struct):
    id: str
    name: str = ""


class SugarLists:
    """See `ListDestination`. A link is a request of its own, so that one that is refused stops no
    other; all go in one bulk."""

    members_batch = 100

    def __init__(self, client: SugarClient) -> None:
        self._client = client
        self._decode = msgspec.json.Decoder(_Record).decode

    def list_id(self, name: str) -> str | None:
        """The list of this name. Raises Refused where there are several."""
        asked = {"filter": [{"name": {"$equals": name}}], "fields": "id,name", "max_num": 10}
        found = self._client.filter(_MODULE, asked, what="search of a target list").records
        if len(found) > 1:
            raise Refused(
                f"{self._client.name}: several target lists have this name, so none was taken. Not "
                "retried. Rename all but one.",
                status=409,
            )
        return self._decode(found[0]).id if found else None

    def create_list(self, name: str, object_name: str) -> str:
        """An empty list of contacts."""
        if object_name != "Contacts":
            raise WrongObject(
                f"{self._client.name}: lists are of Contacts, not of {object_name[:80]}. Not "
                "retried. Correct the sync's object."
            )
        made = self._client.send(
            "POST", f"/{_MODULE}", {"name": name, "list_type": "default"},
            what="create of a target list", repeatable=False, decode=self._decode,
        )  # fmt: skip
        return made.body.id

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        """Contacts on the list."""
        what = "members of a target list"
        for page in self._client.linked(_MODULE, list_id, _LINK, what=what):
            yield [self._decode(raw).id for raw in page]

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        """One bulk request; a contact that is on the list already, or off it, is fine."""
        own = f"/{_MODULE}/{quote(list_id, safe='')}/link"
        calls = [
            Call(own, "POST", msgspec.json.encode({"link_name": _LINK, "ids": [key]}).decode())
            for key in add
        ]
        calls += [Call(f"{own}/{_LINK}/{quote(key, safe='')}", "DELETE") for key in remove]
        answers = self._client.bulk(calls, what="members of a target list", repeatable=True)
        outcomes = []
        for row, key in enumerate([*add, *remove]):
            status = answers[row].status if row < len(answers) else 0
            gone = status == 404
            ok = 200 <= status < 300 or (gone and row >= len(add))
            outcomes.append(
                RowOutcome(row, True, key) if ok else RowOutcome(
                    row, False, key,
                    error_class="gone" if gone else "retry" if status in (0, 401) or status >= 500
                    else "permission" if status == 403 else "data",
                    code=f"HTTP_{status}", message="the list or the contact does not take it",
                )
            )  # fmt: skip
        return outcomes
