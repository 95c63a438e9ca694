"""What the collector knows of events at once: which will not be stored, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from cdp_assets.collector.protocol import Rejected
from cdp_assets.events.landed import Envelope, parts
from cdp_assets.events.lines import LINE_LIMIT
from cdp_assets.events.model import Event, Refusal, judge_each

EVENTS_LIMIT = 20_000
"""Events of a request."""
NAMED = 1_000
"""Refused events of a request that its answer names."""
logger = logging.getLogger(__name__)
Blocker = Callable[[Event, bytes], Refusal | None]
"""A tracking plan's word on an event: why it blocks it, None where it does not."""


@dataclass
class Verdict:
    """events: how many a body holds. refused: how many of them will be in quarantine; rejected: the
    first of those. unreadable: what is wrong with a body that is no JSON and holds no batch.
    too_many: why a body is not taken at all."""

    events: int = 0
    refused: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    unreadable: str | None = None
    too_many: str | None = None


class Verdicts:
    """Judges by the same function as the ingest. blockers: source → its tracking plan's word."""

    def __init__(self, blockers: dict[str, Blocker] | None = None) -> None:
        self._blockers = blockers or {}

    def use(self, blockers: dict[str, Blocker]) -> None:
        """Judge by these tracking plans from now on."""
        self._blockers = blockers

    def of(self, source: str, call: str, body: bytes, envelope: Envelope | None) -> Verdict:
        """The verdict on a request's body; `envelope` is None where it is no JSON as a whole."""
        found_parts = parts(call, body, envelope)
        lines = found_parts.lines
        verdict = Verdict(len(lines))
        if len(lines) > EVENTS_LIMIT:
            verdict.too_many = f"more than {EVENTS_LIMIT:,} events in one request"
        if found_parts.excess:
            verdict.too_many = "the batch's context is too large for so many events"
        if verdict.too_many:
            return verdict
        blocker = self._blockers.get(source)
        judged = judge_each(lines, body)
        for index, (line, found) in enumerate(zip(lines, judged, strict=True)):
            if len(line) > LINE_LIMIT:
                found = Refusal("too_long", f"{len(line)} bytes")
            elif blocker is not None and isinstance(found, Event):
                found = _word(blocker, found, line) or found
            if isinstance(found, Refusal):
                verdict.refused += 1
                if verdict.refused <= NAMED:
                    verdict.rejected.append(Rejected(index, found.reason, found.detail))
        # what is an object by its ends, but for half an emoji in it say, is an event, and kept
        whole = envelope is not None or body.rstrip().endswith(b"}")
        if not whole and len(lines) == len(verdict.rejected) == 1:
            verdict.unreadable = f"the body is no event: {verdict.rejected[0].detail}"
        if not body.strip():
            verdict.unreadable = "the body is empty"
        return verdict


def _word(blocker: Blocker, event: Event, line: bytes) -> Refusal | None:
    try:
        return blocker(event, line)
    except Exception as error:  # noqa: BLE001 - landing comes first: the ingest will judge it
        logger.error("a tracking plan could not judge an event: %s", type(error).__name__)
        return None
