"""What the collector knows of events at once: which will not be stored, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cdp_assets.collector.protocol import Rejected
from cdp_assets.events.landed import Envelope, parts
from cdp_assets.events.lines import LINE_LIMIT
from cdp_assets.events.model import Event, Refusal, judge_each

Blocker = Callable[[Event, bytes], Refusal | None]
"""A tracking plan's word on an event: why it blocks it, None where it does not."""


@dataclass
class Verdict:
    """events: how many a body holds. rejected: those that will be in quarantine. unreadable: what
    is wrong with a body that is no JSON and holds no batch."""

    events: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    unreadable: str | None = None


class Verdicts:
    """Judges by the same function as the ingest. blockers: source → its tracking plan's word."""

    def __init__(self, blockers: dict[str, Blocker] | None = None) -> None:
        self._blockers = blockers or {}

    def of(self, source: str, call: str, body: bytes, envelope: Envelope | None) -> Verdict:
        """The verdict on a request's body; `envelope` is None where it is no JSON as a whole."""
        lines = parts(call, body, envelope).lines
        verdict = Verdict(len(lines))
        blocker = self._blockers.get(source)
        judged = judge_each(lines, body)
        for index, (line, found) in enumerate(zip(lines, judged, strict=True)):
            if len(line) > LINE_LIMIT:
                found = Refusal("too_long", f"{len(line)} bytes")
            elif blocker is not None and isinstance(found, Event):
                found = blocker(found, line) or found
            if isinstance(found, Refusal):
                verdict.rejected.append(Rejected(index, found.reason, found.detail))
        if envelope is None and len(lines) == len(verdict.rejected) == 1:
            verdict.unreadable = f"the body is no JSON: {verdict.rejected[0].detail}"
        return verdict
