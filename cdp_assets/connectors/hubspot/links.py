"""Associations of records that are written: with a create in the same call, after an upsert in one
more, since HubSpot takes none with upserts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cdp_assets.connectors.base import (
    ConnectorError,
    ErrorClass,
    Refused,
    RowChange,
    RowOutcome,
    WrongObject,
)
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.paths import ASSOCIATIONS

_BATCH = 2_000


class _Type(msgspec.Struct, rename="camel"):
    category: str
    type_id: int
    label: str | None = None


class _Types(msgspec.Struct):
    results: list[_Type] = []


class _Answer(msgspec.Struct):
    errors: list[Any] = []


class Links:
    """Makes associations of the plain type, without label."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client
        self._types: dict[tuple[str, str], dict[str, Any]] = {}

    def type(self, name: str, other: str) -> dict[str, Any]:
        """The plain association of two objects' records, as a create names it. Asked for once."""
        if (name, other) not in self._types:
            what = f"association types of {name} and {other}"
            path, decode = f"{ASSOCIATIONS}/{name}/{other}/labels", msgspec.json.Decoder(_Types)
            try:
                found = self._client.get(path, what=what, decode=decode.decode).results
            except Refused as refused:
                if refused.status not in {400, 404}:
                    raise
                found = []
            plain = next((one for one in found if not one.label), None)
            if plain is None:
                raise WrongObject(
                    f"{self._client.name}: {what}: the account knows none, so a new record of "
                    f"{name[:80]} cannot be linked to one of {other[:80]}. Not retried. Correct "
                    "the sync's `link`."
                )
            self._types[name, other] = {
                "associationCategory": plain.category,
                "associationTypeId": plain.type_id,
            }
        return self._types[name, other]

    def add(
        self, name: str, group: Sequence[RowChange], outcomes: Mapping[int, RowOutcome]
    ) -> dict[int, RowOutcome]:
        """Link upserted records as their rows ask; the outcomes of those that could not be. Also
        of records that were there: a row that is sent again finds what its first call made."""
        wanted: dict[str, list[tuple[RowOutcome, str]]] = {}
        for change in group:
            outcome = outcomes.get(change.row)
            if change.op == "upsert" and outcome is not None and outcome.ok and outcome.record_id:
                for other, other_id in change.links:
                    wanted.setdefault(other, []).append((outcome, other_id))
        failed: dict[int, RowOutcome] = {}
        for other, pairs in wanted.items():
            for at in range(0, len(pairs), _BATCH):
                failed.update(self._add(name, other, pairs[at : at + _BATCH]))
        return failed

    def _add(
        self, name: str, other: str, pairs: Sequence[tuple[RowOutcome, str]]
    ) -> Iterator[tuple[int, RowOutcome]]:
        waiting = [list(pairs)]
        while waiting:
            part = waiting.pop(0)
            why: ErrorClass = "data"
            try:
                if self._call(name, other, part):
                    continue
            except Refused as refused:
                why = "gone" if refused.status == 404 else "data"
            except ConnectorError as error:
                left = [*part, *(pair for rest in waiting for pair in rest)]
                yield from (_unlinked(outcome, other, error.error_class) for outcome, _ in left)
                return
            if len(part) == 1:
                yield _unlinked(part[0][0], other, why)
            else:
                half = len(part) // 2
                waiting[:0] = [part[:half], part[half:]]

    def _call(self, name: str, other: str, part: Sequence[tuple[RowOutcome, str]]) -> bool:
        inputs = [{"from": {"id": o.record_id}, "to": {"id": other_id}} for o, other_id in part]
        path = f"{ASSOCIATIONS}/{name}/{other}/batch/associate/default"
        what = f"link of {len(part)} {name} and {other}"
        decode = msgspec.json.Decoder(_Answer).decode
        return not self._client.post(path, {"inputs": inputs}, what=what, decode=decode).body.errors


def _unlinked(outcome: RowOutcome, other: str, why: ErrorClass) -> tuple[int, RowOutcome]:
    said = f"written, but not linked to the record of {other} that was named"
    return outcome.row, RowOutcome(
        outcome.row, False, outcome.record_id, outcome.created, why, "NOT_LINKED", said
    )
