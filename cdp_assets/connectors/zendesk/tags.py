"""Tags on users as lists: a tag is put on or taken off, and the user's other tags stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from cdp_assets.connectors.base import ConnectorError, Refused, RowOutcome, WrongObject
from cdp_assets.connectors.redaction import redact
from cdp_assets.connectors.zendesk.client import ZendeskClient, read_error


class _Result(msgspec.Struct):
    id: int


class ZendeskTags:
    """See `ListDestination`. "Tags" of the Support API: users have no bulk endpoint that leaves
    other tags alone, so each user is a request of its own."""

    members_batch = 100

    def __init__(self, client: ZendeskClient) -> None:
        self._client = client
        self._decode = msgspec.json.Decoder(_Result).decode

    def list_id(self, name: str) -> str | None:
        """The tag itself: there is a tag as soon as one record has it."""
        return self._tag(name)

    def create_list(self, name: str, object_name: str) -> str:
        """Nothing is made; returns the tag."""
        if object_name != "users":
            raise WrongObject(
                f"{self._client.name}: lists are tags on users, not on {object_name[:80]}. Not "
                "retried. Correct the sync's object."
            )
        return self._tag(name)

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        """Users with the tag, by an export of the search: up to a thousand a page."""
        params = {
            "query": f"tags:{list_id}", "filter[type]": "user", "page[size]": "1000"
        }  # fmt: skip
        what = "search of users by tag"
        for page in self._client.pages("/search/export.json", "results", params, what=what):
            yield [str(self._decode(raw).id) for raw in page]

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        """One request a user. Where one gets no answer, the users after it were not asked for."""
        outcomes: list[RowOutcome] = []
        steps = [("PUT", user) for user in add] + [("DELETE", user) for user in remove]
        for row, (method, user) in enumerate(steps):
            try:
                self._client.send(
                    method, f"/users/{user}/tags.json", {"tags": [list_id]},
                    what="tag of a user", repeatable=True,
                )  # fmt: skip
                outcomes.append(RowOutcome(row, True, user))
            except Refused as refused:
                outcomes.append(_refused(row, method, user, list_id, refused))
            except ConnectorError:
                if not outcomes:
                    raise
                outcomes += [
                    RowOutcome(
                        left, False, steps[left][1], error_class="retry", code="NOT_SENT",
                        message="not sent, or without an answer; a tag may be put on twice",
                    )
                    for left in range(row, len(steps))
                ]  # fmt: skip
                break
        return outcomes

    def _tag(self, name: str) -> str:
        tag = "_".join(name.lower().split())
        if not tag or any(sign in tag for sign in ",\"'"):
            raise WrongObject(
                f"{self._client.name}: a tag is one word without commas and quotes. Not retried. "
                "Rename the list."
            )
        return tag


def _refused(row: int, method: str, user: str, tag: str, refused: Refused) -> RowOutcome:
    gone = refused.status == 404
    if gone and method == "DELETE":
        return RowOutcome(row, True, user)
    codes, text = read_error(refused.body)
    return RowOutcome(
        row, False, user, error_class="gone" if gone else "data",
        code=codes[0] if codes else f"HTTP_{refused.status}",
        message=redact(text, [user, tag]) or "refused without a reason",
    )  # fmt: skip
