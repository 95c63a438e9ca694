"""A tracking plan drafted from what was seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import polars as pl
import yaml
from msgspec import Raw

from cdp_assets.events.plan.rules import load, safe_name
from cdp_assets.events.properties import OTHERS, PROPERTIES, build_properties
from cdp_assets.events.shapes import TYPES_OF_TRAITS
from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Lake

SAMPLE: Final = 5_000
"""The newest events of each name whose values are looked at."""
FEW: Final = 12
"""Values that make an enumeration at most; each must have been seen SEEN times."""
SEEN: Final = 5
_PATTERNS: Final = {
    "email": re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s.]{2,}"),
    "phone": re.compile(r"\+\d[\d\s()./-]{6,18}\d|00\d{7,15}|0\d{2,5}[\s/-]\d[\d\s-]{4,12}"),
    "ip": re.compile(r"\d{1,3}(\.\d{1,3}){3}|(?=.*:.*:)[0-9a-fA-F:]{6,45}"),
}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*")
_A_WORD = re.compile(r"[A-Za-z][\w .:/+-]{0,29}")
_PERSONAL = re.compile(
    r"name|mail|phone|mobile|address|street|city|zip|birth|user|customer|person|id$|_id\b|token",
    re.IGNORECASE,
)
"""Names of properties whose values are not listed, however few there are."""


def infer(
    lake: Lake, sources: Iterable[str] | None = None, events: Iterable[str] | None = None
) -> str:
    """The defs.yaml of a tracking plan that what was stored so far would meet, as text.

    Properties have the type they had so far; they are required where each event had them; an
    enumeration is proposed where a text took few values, each often, and neither its name nor its
    values look like somebody's. Addresses, phone numbers and IPs are known by their form.
    """
    build_properties(lake)
    seen = lake.open(PROPERTIES).scan().filter(pl.col("event") != OTHERS).collect()
    if sources is not None:
        seen = seen.filter(pl.col("source").is_in(list(sources)))
    if events is not None:
        seen = seen.filter(pl.col("event").is_in(list(events)))
    counts = [name for name in PROPERTIES.schema if name == "count" or name.endswith("s")]
    names = ("type", "event", "property")
    of_all = seen.group_by(*names).agg(pl.col(c).sum() for c in counts if c not in names)
    lines = ["type: cdp_assets.TrackingPlan", "attributes:", "  violations: flag"]
    tracks = of_all.filter((pl.col("type") == "track") & (pl.col("event") != ""))
    if len(tracks):
        lines.append("  events:")
    for (event,), rows in tracks.sort("event", "property").group_by("event", maintain_order=True):
        values = _values(lake, "track", str(event))
        lines += _event(_quoted(str(event)), rows, values, "    ")
    for kind in ("identify", "group"):
        rows = of_all.filter(pl.col("type") == kind).sort("property")
        if len(rows):
            lines += _event(kind, rows, _values(lake, kind, ""), "  ")
    return "\n".join(lines) + "\n"


def _event(
    name: str, rows: pl.DataFrame, values: Mapping[str, list[Any]], indent: str
) -> list[str]:
    stats = {row["property"]: row for row in rows.iter_rows(named=True)}
    total = stats.get("", {"count": 0})["count"]
    tree = _tree(stats, total, values)
    odd = sum(1 for p in stats if p and safe_name(p.partition(".")[0]) != p.partition(".")[0])
    lines = [f"{indent}{name}:"]
    if odd:
        lines.append(f"{indent}  # {odd} properties are left out: their names look like values")
    if not tree:
        return [f"{indent}{name}: {{}}", *lines[1:]]
    lines.append(f"{indent}  properties:")
    for prop, rule in tree.items():
        lines.append(f"{indent}    {_quoted(prop)}: {_flow(rule)}")
    return lines


def _tree(
    stats: Mapping[str, Mapping[str, Any]], total: int, values: Mapping[str, list[Any]],
    prefix: str = "",
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {}
    for path, row in stats.items():
        name = path.removeprefix(prefix)
        if not path or not path.startswith(prefix) or safe_name(name) != name or "." in name:
            continue
        rule = _rule(name, row, total, values.get(path, []))
        if row["objects"] and rule.get("type") == "object":
            inner = _tree(stats, row["objects"], values, f"{path}.")
            rule |= {"properties": inner} if inner else {}
        found[name] = rule["type"] if list(rule) == ["type"] else rule
    return found


def _rule(name: str, row: Mapping[str, Any], total: int, values: list[Any]) -> dict[str, Any]:
    kinds = [k for k in ("string", "integer", "number", "boolean", "object", "array")
             if row[f"{k}s"]]  # fmt: skip
    rule: dict[str, Any] = {}
    if kinds == ["integer", "number"]:
        kinds = ["number"]
    if len(kinds) == 1:
        rule["type"] = kinds[0]
    if total and row["count"] == total and not row["nulls"]:
        rule["required"] = True
    texts = [value for value in values if isinstance(value, str)]
    if kinds == ["string"] and texts:
        pii = next((k for k, p in _PATTERNS.items() if _mostly(p, texts)), None)
        if pii is not None:
            rule["pii"] = pii
        elif all(_MOMENT.fullmatch(text) for text in texts):
            rule["type"] = "datetime"
        elif all(_DAY.fullmatch(text) for text in texts):
            rule["type"] = "date"
        elif few := _few(name, texts):
            rule["enum"] = few
    return rule


def _mostly(pattern: re.Pattern[str], texts: list[str]) -> bool:
    return sum(bool(pattern.fullmatch(text.strip())) for text in texts) >= 0.8 * len(texts)


def _few(name: str, texts: list[str]) -> list[str]:
    counted = Counter(texts)
    plain = all(_A_WORD.fullmatch(text) and sum(c.isdigit() for c in text) < 3 for text in counted)
    if len(counted) > FEW or min(counted.values()) < SEEN or not plain or _PERSONAL.search(name):
        return []
    return sorted(counted)


def _values(lake: Lake, kind: str, event: str) -> dict[str, list[Any]]:
    """Property → its values in the newest events of a name; members by `a.b`."""
    of = (pl.col("type") == kind) & (pl.col("event") == event if event else pl.lit(True))
    rows = (
        lake.open(EVENTS).scan().filter(of).select("payload", "timestamp")
        .top_k(SAMPLE, by="timestamp").select("payload").collect()
    )  # fmt: skip
    found: dict[str, list[Any]] = {}
    member = "traits" if kind in TYPES_OF_TRAITS else "properties"
    for payload in rows["payload"].to_list():
        fields = msgspec.json.decode(payload, type=dict[str, Raw])
        if member in fields:
            _gather(load(bytes(fields[member])), "", found)
    return found


def _gather(content: Any, prefix: str, found: dict[str, list[Any]]) -> None:
    if isinstance(content, dict):
        for name, value in content.items():
            if isinstance(value, dict):
                _gather(value, f"{prefix}{name}.", found)
            else:
                found.setdefault(f"{prefix}{name}", []).append(value)


def _quoted(name: str) -> str:
    return str(yaml.safe_dump(name, allow_unicode=True, width=10_000)).partition("\n")[0]


def _flow(rule: Any) -> str:
    text = yaml.safe_dump(
        rule, default_flow_style=True, sort_keys=False, allow_unicode=True, width=100_000
    )
    return str(text).partition("\n")[0]
