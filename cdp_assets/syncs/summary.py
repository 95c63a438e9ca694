"""A plan as a few lines for people."""

from __future__ import annotations

from collections import Counter

from cdp_assets.syncs.model import Op, Plan

_RARE: dict[Op, str] = {
    "delete": "records to delete",
    "add": "to put on the list",
    "remove": "to take off the list",
}


def summary(plan: Plan) -> list[tuple[str, str]]:
    """What a plan would do, as (name, text) rows in the order to be shown."""
    fields = Counter((c.object, field) for c in plan.changes for field in c.told)
    rows = [
        ("plan", plan.short),
        ("profiles", f"{plan.profiles:,}"),
        ("records to create", f"{plan.creates:,}"),
        ("records to change", f"{plan.updates:,}"),
        *((title, f"{n:,}") for op, title in _RARE.items() if (n := plan.count(op))),
        ("profiles without a record", f"{plan.without_record:,}"),
        *((f"  {o}.{f}", f"{n:,}") for (o, f), n in sorted(fields.items())),
    ]
    reasons = Counter((o.op, _reason(o.why, o.field)) for o in plan.obstacles)
    for (op, why), count in reasons.most_common(10):
        rows.append((f"{'not written' if op == 'error' else op}: {count:,}", why))
    rows += [("stopped", reason) for reason in plan.stopped]
    if plan.approve_hint:
        rows.append(("waits for", plan.approve_hint))
    elif not plan.changes:
        rows.append(("nothing to write", ""))
    return rows


def _reason(why: str, field: str) -> str:
    return why if not field or why.startswith(field) else f"{field}: {why}"
