"""A plan made ready to judge: one rule a planned event, with what it answered before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

import msgspec
import polars as pl
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from cdp_assets.events.plan import patterns
from cdp_assets.events.plan.config import POLICIES, EventRule, Policy, TrackingPlanConfig
from cdp_assets.events.plan.schema import Schema, planned_names, schema_of, split
from cdp_assets.events.plan.values import fine_values
from cdp_assets.events.times import read_time

STRENGTH: Final[Mapping[str, int]] = {name: n for n, name in enumerate(POLICIES)}
UNPLANNED_EVENT: Final = "unplanned_event"
NOT_AN_OBJECT: Final = "type:(all)"
_KEPT = 20_000
"""Answers that are remembered of one rule or property."""
_LONG = 200
"""Characters of a text from which on no answer about it is remembered: senders choose them."""
_KEPT_OBJECTS, _MEMBERS, _WIDE = 1_000, 200, 4_000
"""As _KEPT, of objects; and members, and characters of their names, from which on no answer about
an object is remembered."""
MOST: Final = 20
"""Violations that are named of one event."""
_PLAIN_NAME = re.compile(r"[A-Za-z_$][\w $.-]{0,63}")
_WORDS = {"required": "missing", "additionalProperties": "unplanned", "type": "type"}

Codes = tuple[str, ...]
"""`missing:format`: what is wrong, and of which property; without any value."""

formats = FormatChecker(formats=("email", "ipv4", "ipv6", "uuid"))


def _date(value: object) -> bool:
    return not isinstance(value, str) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\d", value) and read_time(value)
    )


def _moment(value: object) -> bool:
    return not isinstance(value, str) or read_time(value) is not None


formats.checks("date")(_date)
formats.checks("date-time")(_moment)


class PlanError(ValueError):
    """A plan's JSON Schema that cannot be used. The text says why."""


@dataclass(frozen=True)
class Verdict:
    """What a plan says of one event.

    action: what becomes of it. violations: `missing:format`, `enum:format`, `unplanned:colour`,
    `unplanned_event` …; also those that are allowed.
    """

    action: Policy = "allow"
    violations: Codes = ()


FINE: Final = Verdict()


def validator(schema: Schema) -> Any:
    """A validator of this schema that fetches nothing. Raises PlanError where it is none."""
    known = schema.get("$schema") if isinstance(schema, Mapping) else None
    kind = validator_for(schema, default=None if known else Draft202012Validator)
    if kind is None:
        raise PlanError(f"its dialect {known!r} is not known; use {Draft202012Validator.__name__}")
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        at = "/".join(str(part) for part in error.absolute_path)
        raise PlanError(f"it is no JSON Schema: at {at or 'its top'}: {error.message}") from None
    for said in patterns.faults(schema):
        raise PlanError(said)
    registry: Registry[Any] = Registry()
    if isinstance(schema, Mapping):
        # by which the library would find its own class again
        schema = {name: part for name, part in schema.items() if name != "$schema"}
    return patterns.bounded(kind)(schema, registry=registry, format_checker=formats)


class Rule:
    """One planned event: judges an object of what it says."""

    def __init__(self, schema: Schema, violations: Policy, unplanned: Policy) -> None:
        self.schema = schema
        self.violations = violations
        self.unplanned = unplanned
        whole = validator(schema)
        parts = split(schema)
        try:
            # a reference that leads nowhere is found by following it: not at the first event
            list(whole.iter_errors({}))
        except Unresolvable as error:
            raise PlanError(f"it refers to {error.ref!r}, which is not in it") from None
        self._whole = whole
        self._form = validator(parts[0]) if parts else None
        watched = parts[1] if parts else {}
        self.watched: Mapping[str, Watched] = {
            name: Watched(name, schema, part) for name, part in watched.items()
        }
        self._by_name = "patternProperties" in repr(schema)
        self._names = planned_names(schema) if unplanned != "allow" else None
        self.by_shape: dict[int, Codes] = {}
        self._by_letters: dict[tuple[tuple[str, str], ...], Codes] = {}
        self._actions: dict[Codes, Policy] = {}

    @property
    def whole(self) -> bool:
        """Whether each object has to be judged as a whole: its shape says too little."""
        return self._form is None

    def form(self, content: Any) -> Codes:
        """What is wrong with the shape of `content`, decoded JSON (None for nothing said)."""
        return self._codes(self._form or self._whole, {} if content is None else content)

    def remember(self, shape: int, codes: Codes) -> None:
        """Answer the same next time. Only so many answers are kept: names may hold ids."""
        if len(codes) > MOST:
            return
        if len(self.by_shape) >= _KEPT:
            self.by_shape.clear()
        self.by_shape[shape] = codes

    def judge(self, text: bytes) -> Codes:
        """What is wrong with a JSON object; b"" for none."""
        known = self._flat(text)
        if known is not None:
            return known
        content = load(text) if text else {}
        return self._codes(self._whole, {} if content is None else content)

    def _flat(self, text: bytes) -> Codes | None:
        """As `judge`, for the usual object: no member is a list or an object, and no number may be
        a whole one written otherwise. Those of one shape are asked once. None for any other."""
        if self._form is None or text[:1] != b"{":
            return None
        try:
            members = _members(text)
        except (msgspec.DecodeError, UnicodeError):
            return None
        values = {name: bytes(raw) for name, raw in members.items()}
        shape = tuple((name, _letter(value)) for name, value in values.items())
        if any(letter == "" for _, letter in shape):
            return None
        codes = self._by_letters.get(shape)
        if codes is None:
            codes = self.form(load(text))
            if len(values) <= _MEMBERS and sum(map(len, values)) <= _WIDE and len(codes) <= MOST:
                if len(self._by_letters) >= _KEPT_OBJECTS:
                    self._by_letters.clear()
                self._by_letters[shape] = codes
        wrong = {
            code
            for name, watched in self.watched.items()
            if name in values
            for code in watched.judge(values[name].decode())
        }
        return tuple(sorted({*codes, *wrong})) if wrong else codes

    def _codes(self, judge: Any, content: Any) -> Codes:
        if not isinstance(content, Mapping):
            return (NOT_AN_OBJECT,)
        if self._by_name:
            content = patterns.cut(content)
        found = {code for error in judge.iter_errors(content) for code in _codes(error)}
        found |= set(self.unplanned_in(content))
        return tuple(sorted(found))

    def unplanned_in(self, names: Iterable[str]) -> Iterator[str]:
        """The violations of names that the plan does not have."""
        if self._names is None:
            return
        planned, forms = self._names
        for name in names:
            if name not in planned and not any(re.search(p, name) for p in forms):
                yield f"unplanned:{safe_name(name)}"

    def action(self, codes: Codes) -> Policy:
        """What becomes of an event with these violations."""
        known = self._actions.get(codes)
        if known is None:
            known = self._action(codes)
            if len(codes) <= MOST:
                if len(self._actions) >= _KEPT:
                    self._actions.clear()
                self._actions[codes] = known
        return known

    def _action(self, codes: Codes) -> Policy:
        found: Policy = "allow"
        closed = isinstance(self.schema, Mapping) and "additionalProperties" in self.schema
        for code in codes:
            policy = self.violations
            if code.startswith("unplanned:") and not closed:
                policy = self.unplanned
            found = max(found, policy, key=STRENGTH.__getitem__)
        return found


class Watched:
    """A property of which not only the type counts."""

    def __init__(self, name: str, root: Schema, schema: Schema) -> None:
        self.name = name
        self.schema = schema
        dialect = root.get("$schema") if isinstance(root, Mapping) else None
        only = {"properties": {name: schema}} | ({"$schema": dialect} if dialect else {})
        self._validator = validator(only)
        self._known: dict[str, Codes] = {}
        self._fine = fine_values(schema, lambda text: not self.judge(text))

    def surely(self, values: pl.Series) -> pl.Series | None:
        """Which of these values (JSON texts, null where absent) are right beyond doubt; None where
        each has to be judged."""
        return self._fine(values) if self._fine is not None else None

    def judge(self, text: str) -> Codes:
        """What is wrong with a value, as its JSON text."""
        known = self._known.get(text)
        if known is None:
            known = tuple(
                sorted(
                    code
                    for error in self._validator.iter_errors({self.name: load(text.encode())})
                    for code in _codes(error)
                )
            )
            if len(text) <= _LONG:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[text] = known
        return known


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _letter(value: bytes) -> str:
    """The type of a value by its JSON text; empty where more has to be known of it."""
    first = value[:1]
    if first in b'"tfn':
        return {b'"': "s", b"t": "b", b"f": "b", b"n": "z"}[first]
    if first in b"[{":
        return ""
    if value.lstrip(b"-").isdigit():
        return "i"
    whole = b"e" in value or b"E" in value or not value.partition(b".")[2].strip(b"0")
    return "" if whole else "n"


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # too long for Python; nothing it is compared with is that large
        return -_HUGE if digits.startswith("-") else _HUGE


_HUGE: Final = 10**1_000


def load(text: bytes) -> Any:
    """JSON with whole numbers as they are written; those beyond Python's limit of digits (4,300)
    are as large as one with a thousand."""
    return json.loads(text, parse_int=_whole)


def _codes(error: Any) -> Iterator[str]:
    path = [safe_name(part) for part in error.absolute_path if isinstance(part, str)]
    word = _WORDS.get(error.validator, error.validator)
    if error.validator == "required" and isinstance(error.instance, Mapping):
        for name in error.validator_value:
            if name not in error.instance:
                yield f"{word}:{'.'.join([*path, safe_name(name)])}"
    elif error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        planned = error.schema.get("properties") or {}
        forms = error.schema.get("patternProperties") or {}
        for name in error.instance:
            if name not in planned and not any(re.search(p, name) for p in forms):
                yield f"{word}:{'.'.join([*path, safe_name(name)])}"
    else:
        yield f"{word}:{'.'.join(path) or '(all)'}"


def safe_name(name: str) -> str:
    """A property's name, where it is one that a programmer gave; else one that shows nothing:
    senders put addresses and ids where names belong."""
    return _safe_name(name) if len(name) <= 64 else "(odd name)"


@lru_cache(maxsize=10_000)
def _safe_name(name: str) -> str:
    plain = _PLAIN_NAME.fullmatch(name) and sum(c.isdigit() for c in name) < 5
    return name if plain else "(odd name)"


@dataclass(frozen=True)
class Plan:
    """A tracking plan, ready to judge the events of a source.

    rules: (type, event) → its rule; event is "" of calls that are no track. schemas: file name →
    its JSON, for those that the plan names.
    """

    name: str
    config: TrackingPlanConfig
    schemas: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def event_rules(self) -> dict[str, EventRule]:
        """The plan's track events, those of its file included."""
        found = dict(self.config.events)
        if self.config.schema_ is not None:
            for event in events_of_file(self.schemas[self.config.schema_]):
                found.setdefault(event, EventRule())
        return found

    @cached_property
    def rules(self) -> dict[tuple[str, str], Rule]:
        config = self.config
        of_file: Mapping[str, Schema] = {}
        if config.schema_ is not None:
            of_file = events_of_file(self.schemas[config.schema_])
        asked: dict[tuple[str, str], EventRule] = {
            ("track", event): rule for event, rule in self.event_rules.items()
        }
        for kind in ("identify", "group", "page", "screen"):
            if (rule := getattr(config, kind)) is not None:
                asked[kind, ""] = rule
        rules = {}
        for key, rule in asked.items():
            if rule.schema_ is not None:
                schema = self.schemas[rule.schema_]
            elif key[1] in of_file and not rule.properties:
                schema = of_file[key[1]]
            else:
                schema = schema_of(rule)
            rules[key] = Rule(
                schema,
                rule.violations or config.violations,
                rule.unplanned_properties or config.unplanned_properties,
            )
        return rules

    @property
    def label(self) -> str:
        """The plan's name and version."""
        version = self.config.version
        return self.name if version is None else f"{self.name}@{version}"


def events_of_file(content: Any) -> dict[str, Schema]:
    """Event → JSON Schema of its properties, from a plan's file: `{"events": {NAME: SCHEMA}}`, or
    Segment's own (`rules`, where a schema is of the whole message, and `properties` is part of it).

    Raises PlanError where it is neither.
    """
    if isinstance(content, Mapping) and isinstance(content.get("events"), Mapping):
        return dict(content["events"])
    rules = content.get("rules") if isinstance(content, Mapping) else None
    if isinstance(rules, Mapping):
        rules = rules.get("events")
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        raise PlanError(
            'it is no plan: expected {"events": {NAME: JSON Schema of its properties}}, or '
            "`rules` as Segment exports them"
        )
    found: dict[str, Schema] = {}
    for rule in rules:
        if not isinstance(rule, Mapping) or str(rule.get("type", "TRACK")).upper() != "TRACK":
            continue
        name = rule.get("key") or rule.get("name")
        message = rule.get("jsonSchema") or rule.get("rules")
        if not isinstance(name, str) or not isinstance(message, Mapping):
            raise PlanError("one of its rules has no name (`key`) or no schema (`jsonSchema`)")
        of_message = message.get("properties") or {}
        found[name] = of_message.get("properties", {}) if isinstance(of_message, Mapping) else {}
    return found
