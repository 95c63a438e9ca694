"""Associations of HubSpot's records. Searches do not carry them and lists stop at a hundred, so
all pulls read them here, and a record looks alike however it came.

An association that changes alone need not move its record's cursor: it is then seen with the
record's next change. One that pointed at a merged record is followed by the merge itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.paths import ASSOCIATIONS

_BATCH = 1_000
_SINGULAR = {
    "contacts": "contact",
    "companies": "company",
    "deals": "deal",
    "tickets": "ticket",
    "calls": "call",
    "emails": "email",
    "meetings": "meeting",
    "notes": "note",
    "tasks": "task",
    "feedback_submissions": "feedback_submission",
}


class _Type(msgspec.Struct, rename="camel"):
    type_id: int = 0
    label: str | None = None
    category: str = ""


class _To(msgspec.Struct, rename="camel"):
    to_object_id: str | int
    association_types: list[_Type] = []


class _Id(msgspec.Struct):
    id: str


class _After(msgspec.Struct):
    after: str


class _Paging(msgspec.Struct):
    next: _After | None = None


class _Result(msgspec.Struct, rename={"from_": "from"}):
    from_: _Id
    to: list[_To] = []
    paging: _Paging | None = None


class _Answer(msgspec.Struct):
    results: list[_Result] = []


Found = dict[str, dict[str, list[Any]]]


def associations(
    client: HubSpotClient, name: str, targets: Sequence[str], ids: Sequence[str], what: str
) -> dict[str, bytes]:
    """id → its associations with the target objects, as JSON in the form of the list API:
    {object: {results: [{id, type, label, typeId}]}}, ordered by id and type."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        i: {target: [] for target in targets} for i in ids
    }
    decode = msgspec.json.Decoder(_Answer).decode
    for target in targets:
        waiting = [{"id": i} for i in dict.fromkeys(ids)]
        path = f"{ASSOCIATIONS}/{name}/{target}/batch/read"
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            answer = client.post(path, {"inputs": batch}, what=what, decode=decode).body
            for result in answer.results:
                for to in result.to:
                    found[result.from_.id][target] += _entries(name, target, to)
                if result.paging is not None and result.paging.next is not None:
                    waiting.append({"id": result.from_.id, "after": result.paging.next.after})
    encode = msgspec.json.Encoder().encode
    return {
        i: encode(
            {
                target: {"results": sorted(entries, key=lambda e: (e["id"], e["typeId"]))}
                for target, entries in by_target.items()
            }
        )
        for i, by_target in found.items()
    }


def _entries(name: str, target: str, to: _To) -> list[dict[str, Any]]:
    return [
        {
            "id": str(to.to_object_id),
            "type": _type_name(name, target, kind.label),
            "label": kind.label,
            "typeId": kind.type_id,
        }
        for kind in to.association_types or [_Type()]
    ]


@lru_cache(maxsize=1024)
def _type_name(name: str, target: str, label: str | None) -> str:
    """As the list API names it: the primary one plain, one without a label `…_unlabeled`."""
    pair = f"{_SINGULAR.get(name, name)}_to_{_SINGULAR.get(target, target)}"
    text = re.sub(r"\W+", "_", (label or "unlabeled").lower()).strip("_")
    return pair if text.startswith("primary") else f"{pair}_{text}"


def with_associations(record: msgspec.Raw | bytes, found: bytes) -> bytes:
    """The record's own bytes with the member `associations` put in last."""
    body = bytes(record).rstrip()
    return body[:-1] + b',"associations":' + found + b"}"
