"""What a pull itself reads of Zendesk's records, and what it adds to their payloads.

A payload stays as it came; beside it stand, under names of their own at its top, the values that
lie deeper in it and that mappings name: the channel, the rating, the first domain, and each field
that the account added (`custom_` and its key, or a ticket field's id).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from cdp_assets.connectors.zendesk.fields import CUSTOM

_SAID = frozenset({"Comment", "VoiceComment", "FacebookComment", "Tweet"})
"""Events of a ticket in which somebody says something."""


class _Via(msgspec.Struct, gc=False):
    channel: str | None = None


class _Rating(msgspec.Struct, gc=False):
    score: str | None = None


class _Custom(msgspec.Struct, gc=False):
    id: int
    value: msgspec.Raw = msgspec.Raw(b"null")


class Lead(msgspec.Struct):
    """The beginning of every record."""

    id: int
    updated_at: str | None = None
    created_at: str | None = None

    def at(self) -> datetime:
        """The record's place in its window: the account's own time, where it tells it."""
        text = self.updated_at or self.created_at
        return datetime.fromisoformat(text) if text else datetime(1970, 1, 1, tzinfo=UTC)

    def gone(self) -> bool:
        """Whether it was deleted."""
        return False

    def more(self) -> dict[str, Any]:
        """What is put beside its own values."""
        return {}

    def comments(self) -> Iterator[tuple[str, bytes]]:
        """The comments in it."""
        return iter(())


class _User(Lead):
    active: bool | None = True
    user_fields: dict[str, msgspec.Raw] | None = None

    def gone(self) -> bool:
        return self.active is False

    def more(self) -> dict[str, Any]:
        return {f"{CUSTOM}{key}": raw for key, raw in (self.user_fields or {}).items()}


class _Organization(Lead):
    deleted_at: str | None = None
    domain_names: list[str] | None = None
    organization_fields: dict[str, msgspec.Raw] | None = None

    def gone(self) -> bool:
        return self.deleted_at is not None

    def more(self) -> dict[str, Any]:
        own = self.organization_fields or {}
        domain = self.domain_names[0] if self.domain_names else None
        return {"domain": domain} | {f"{CUSTOM}{key}": raw for key, raw in own.items()}


class _Ticket(Lead):
    generated_timestamp: int | None = None
    status: str | None = None
    via: _Via | None = None
    satisfaction_rating: _Rating | None = None
    custom_fields: list[_Custom] | None = None

    def at(self) -> datetime:
        if self.generated_timestamp is None:
            return Lead.at(self)
        return datetime.fromtimestamp(self.generated_timestamp, UTC)

    def gone(self) -> bool:
        return self.status == "deleted"

    def more(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "channel": self.via.channel if self.via else None,
            "satisfaction": self.satisfaction_rating.score if self.satisfaction_rating else None,
        }
        return told | {f"{CUSTOM}{field.id}": field.value for field in self.custom_fields or ()}


class _Event(Lead):
    timestamp: int | None = None
    ticket_id: int | None = None
    via: Any = None
    child_events: list[msgspec.Raw] = []

    def at(self) -> datetime:
        if self.timestamp is None:
            return Lead.at(self)
        return datetime.fromtimestamp(self.timestamp, UTC)

    def more(self) -> dict[str, Any]:
        return {"channel": _channel(self.via)}

    def comments(self) -> Iterator[tuple[str, bytes]]:
        """Each comment of a ticket's event as a record of its own, with the ticket's id."""
        for raw in self.child_events:
            child = _child(raw)
            if child.event_type not in _SAID or (
                child.event_type == "Comment" and child.body is None
            ):
                continue
            told = {
                "ticket_id": self.ticket_id,
                "channel": _channel(child.via) or _channel(self.via),
            }
            if child.created_at is None:
                told["created_at"] = self.created_at
            yield str(child.id), _with(raw, told)


class _Child(msgspec.Struct, gc=False):
    id: int
    event_type: str = ""
    body: str | None = None
    created_at: str | None = None
    via: Any = None


class _Rated(Lead):
    def more(self) -> dict[str, Any]:
        return {"channel": "satisfaction"}


_child = msgspec.json.Decoder(_Child).decode
_LEADS: dict[str, Any] = {
    "users": msgspec.json.Decoder(_User),
    "organizations": msgspec.json.Decoder(_Organization),
    "tickets": msgspec.json.Decoder(_Ticket),
    "ticket_events": msgspec.json.Decoder(_Event),
    "ticket_comments": msgspec.json.Decoder(_Event),
    "satisfaction_ratings": msgspec.json.Decoder(_Rated),
}


def leads(name: str) -> Any:
    """The decoder of what a pull reads of an object's records."""
    return _LEADS[name]


def widened(record: Lead, raw: msgspec.Raw) -> Iterator[tuple[str, bytes]]:
    """The record's id and its payload with what is put beside it."""
    yield str(record.id), _with(raw, record.more())


def _with(raw: msgspec.Raw, told: dict[str, Any]) -> bytes:
    body = bytes(raw).rstrip()
    return body[:-1] + b"," + msgspec.json.encode(told)[1:] if told else body


def _channel(via: Any) -> str | None:
    found = via.get("channel") if isinstance(via, dict) else via
    return str(found) if found is not None else None
