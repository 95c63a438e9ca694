"""Events judged by their plan: a block at once, or one alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import polars as pl
from msgspec import Raw

from cdp_assets.events.model import Event
from cdp_assets.events.model import Refusal as Refused
from cdp_assets.events.plan.config import Policy
from cdp_assets.events.plan.rules import (
    FINE,
    MOST,
    NOT_AN_OBJECT,
    UNPLANNED_EVENT,
    Codes,
    Plan,
    Rule,
    Verdict,
    load,
    safe_name,
)
from cdp_assets.events.shapes import TYPES_OF_TRAITS, Shapes, member_texts, shapes_of
from cdp_assets.raw.quarantine import Refusal

if TYPE_CHECKING:
    from cdp_assets.events.decode import Block

FLAG: Final = "violation:"
_object = msgspec.json.Decoder(dict[str, Raw])
Found = list[tuple[int, Codes, Policy]]
"""(row, violations, what becomes of it)."""


def judge_event(plan: Plan, event: Mapping[str, Any] | bytes) -> Verdict:
    """What the plan says of one event, as its JSON text or its decoded fields. Raises
    msgspec.DecodeError where the text is no JSON object."""
    fields: Mapping[str, Any] = _object.decode(event) if isinstance(event, bytes) else event
    kind, name = _text(fields.get("type")).strip().lower(), ""
    if kind == "track":
        name = _text(fields.get("event")).strip()
    member = fields.get("traits" if kind in TYPES_OF_TRAITS else "properties")
    rule = plan.rules.get((kind, name))
    if rule is None:
        return unplanned(plan) if kind == "track" else FINE
    text = bytes(member) if isinstance(member, Raw) else msgspec.json.encode(member)
    codes = rule.judge(text)
    return Verdict(rule.action(codes), codes) if codes else FINE


BLOCKED: Final = frozenset({"block"})
KEPT_OUT: Final = frozenset({"block", "quarantine", "drop"})
"""What keeps an event out of the table."""


def blocker(
    plan: Plan, actions: Collection[str] = BLOCKED
) -> Callable[[Event, bytes], Refused | None]:
    """The plan's word on an event that was read already, for whoever has to answer its sender: why
    it is blocked (or what else `actions` name), None where it is not."""

    def word(event: Event, line: bytes) -> Refused | None:
        del line
        name = (event.event or "") if event.type == "track" else ""
        rule = plan.rules.get((event.type, name))
        if rule is None:
            found = unplanned(plan) if event.type == "track" else FINE
        else:
            said = event.traits if event.type in TYPES_OF_TRAITS else event.properties
            codes = rule.judge(bytes(said))
            found = Verdict(rule.action(codes), codes) if codes else FINE
        if found.action not in actions:
            return None
        told = refusal(0, name or event.type, found.violations, plan.label, b"")
        return Refused(told.reason, told.detail)

    return word


def unplanned(plan: Plan) -> Verdict:
    """What the plan says of an event that it does not name."""
    return Verdict(plan.config.unplanned_events, (UNPLANNED_EVENT,))


def _text(value: Any) -> str:
    if isinstance(value, Raw):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return ""
    return value if isinstance(value, str) else ""


def judged(block: Block, plans: Mapping[str, Plan]) -> Block:
    """The same block after the plans of its sources: flagged events bear `violation:…`, others are
    taken out and counted as dropped, or refused."""
    events = block.events
    found: dict[int, tuple[Codes, Policy, str]] = {}
    asked = events.select("type", "event", "payload", "source")
    sources = asked["source"].unique().to_list()
    for source in sources:
        if (plan := plans.get(source)) is None:
            continue
        label = plan.label
        if len(sources) == 1:
            found = {row: (said, how, label) for row, said, how in violations(asked, plan)}
        else:
            own = (asked["source"] == source).arg_true()
            at = own.to_list()
            found |= {at[r]: (said, how, label) for r, said, how in violations(asked[own], plan)}
    if not found:
        return block
    if flagged := {row: said for row, said in found.items() if said[1] == "flag"}:
        events = _flag(events, flagged)
    out = sorted(row for row, said in found.items() if said[1] != "flag")
    if not out:
        return replace(block, events=events)
    gone = events[out]
    refused: list[Refusal] = []
    dropped = dict(block.dropped)
    columns = ("row_number", "event", "type", "payload")
    for place, line in zip(out, gone.select(columns).iter_rows(), strict=True):
        number, event, kind, payload = line
        codes, action, label = found[place]
        if action == "drop":
            name = safe_name(event) if event else kind
            dropped[name] = dropped.get(name, 0) + 1
        else:
            refused.append(refusal(number, event or kind, codes, label, payload.encode()))
    return without(replace(block, events=events, dropped=dropped), gone, refused)


def without(block: Block, gone: pl.DataFrame, refused: Sequence[Refusal]) -> Block:
    """A block without some of its events, of which some are refused."""
    left = ~pl.col("row").is_in(gone["row"].implode())
    told = block.observations
    return replace(
        block,
        events=block.events.filter(left),
        typed={event: frame.filter(left) for event, frame in block.typed.items()},
        observations=told.filter(left) if len(told) else told,
        refused=sorted([*block.refused, *refused], key=lambda r: r.position),
        days=block.days | set(gone["event_day"].unique().to_list()),
    )


def refusal(position: int, event: str, codes: Codes, label: str, payload: bytes) -> Refusal:
    """A violation as a row of quarantine. label: the plan's."""
    reason = codes[0].partition(":")[0]
    detail = f"{safe_name(event)} breaks {label}: {', '.join(codes[:MOST])}"
    return Refusal(position, f"{FLAG}{reason}", detail, payload)


def _flag(events: pl.DataFrame, flagged: Mapping[int, tuple[Codes, Policy, str]]) -> pl.DataFrame:
    # few verdicts, many events
    said = {verdict: n for n, verdict in enumerate(dict.fromkeys(flagged.values()))}
    texts = pl.DataFrame(
        {
            "verdict": list(said.values()),
            "added": [
                [*(f"{FLAG}{code}" for code in codes[:MOST]), f"plan:{label}"]
                for codes, _, label in said
            ],
        },
        schema={"verdict": pl.UInt32, "added": pl.List(pl.String)},
    )
    added = pl.DataFrame(
        {"at": list(flagged), "verdict": [said[verdict] for verdict in flagged.values()]},
        schema={"at": pl.UInt32, "verdict": pl.UInt32},
    ).join(texts, on="verdict")
    flags = events.select("flags").with_row_index("at")
    joined = flags.join(added, on="at", how="left", maintain_order="left").select(
        pl.when(pl.col("added").is_null())
        .then("flags")
        .otherwise(pl.concat_list("flags", "added"))
        .alias("flags")
    )
    return events.with_columns(joined["flags"])


def violations(events: pl.DataFrame, plan: Plan) -> Found:
    """Every row (its place in `events`) that the plan does not simply allow."""
    rules = plan.rules
    names = events["event"].fill_null("")
    frame = pl.DataFrame([events["type"], names]).with_row_index("at")
    groups = {
        (str(kind), str(event)): np.array(rows, dtype=np.int64)
        for kind, event, rows in zip(*frame.group_by("type", "event").agg("at"), strict=True)
    }
    found: Found = []
    outside = unplanned(plan)
    planned = {key: rows for key, rows in groups.items() if key in rules}
    if outside.action != "allow":
        for key, rows in groups.items():
            if key[0] == "track" and key not in rules:
                found += [(int(row), outside.violations, outside.action) for row in rows]
    if not planned:
        return found
    asked = events.select("payload", "type")
    places = np.sort(np.concatenate(list(planned.values())))
    all_planned = len(places) == len(events)
    if not all_planned:
        asked = asked[places]
    shapes = shapes_of(asked["payload"], asked["type"])
    for key, rows in planned.items():
        inside = rows if all_planned else np.searchsorted(places, rows)
        for at, codes in _of_rule(rules[key], shapes, inside, asked["payload"]):
            action = rules[key].action(codes)
            if action != "allow":
                found.append((int(places[at]), codes, action))
    return found


def _of_rule(
    rule: Rule, shapes: Shapes, rows: np.ndarray[Any, Any], payload: pl.Series
) -> list[tuple[int, Codes]]:
    """The rows (of `shapes`) that break a rule, with how."""
    found: dict[int, Codes] = {}
    alone = shapes.odd[rows] | shapes.exponents[rows] | rule.whole
    for row in rows[shapes.no_object[rows] & ~alone].tolist():
        found[row] = (NOT_AN_OBJECT,)
    by_shape = rows[~alone & ~shapes.no_object[rows]]
    hashes, first, which = np.unique(
        shapes.hashes[by_shape], return_index=True, return_inverse=True
    )
    for number, (shape, at) in enumerate(zip(hashes.tolist(), first.tolist(), strict=True)):
        codes = rule.by_shape.get(shape)
        if codes is None:
            text = shapes.text(by_shape[at])
            codes = rule.form(load(text) if text else None)
            rule.remember(shape, codes)
        if codes:
            found |= dict.fromkeys(by_shape[which == number].tolist(), codes)
    if rule.watched and len(by_shape):
        texts, odd = member_texts(shapes, by_shape, list(rule.watched))
        alone_too = by_shape[odd].tolist()
        for watched, values in zip(rule.watched.values(), texts, strict=True):
            for at, codes in _wrong(watched, values):
                row = int(by_shape[at])
                known = found.get(row)
                found[row] = codes if known is None else tuple(sorted({*known, *codes}))
    else:
        alone_too = []
    for row in [*rows[alone].tolist(), *alone_too]:
        found.pop(row, None)
        if codes := judge_alone(rule, payload[row]):
            found[row] = codes
    return sorted(found.items())


def judge_alone(rule: Rule, payload: str) -> Codes:
    """What is wrong with a payload, read as a whole."""
    fields = _object.decode(payload.encode())
    kind = _text(fields.get("type")).strip().lower()
    text = fields.get("traits" if kind in TYPES_OF_TRAITS else "properties")
    return rule.judge(bytes(text) if text is not None else b"")


def _wrong(watched: Any, values: pl.Series) -> list[tuple[int, Codes]]:
    """Places of values (JSON texts, null where absent) that a property may not have."""
    fine = watched.surely(values)
    left = values if fine is None else values.filter(~fine)
    wrong = {
        text: codes
        for text in left.unique().to_list()
        if text is not None and (codes := watched.judge(text))
    }
    if not wrong:
        return []
    at = values.is_in(pl.Series(list(wrong), dtype=pl.String).implode()).fill_null(False).arg_true()
    texts = values.gather(at).to_list()
    return [(place, wrong[text]) for place, text in zip(at.to_list(), texts, strict=True)]
