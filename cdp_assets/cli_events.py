"""The sub-commands of `cdp` that are about events: tracking plans, what was seen, what waits."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from cdp_assets.cli_base import Add, complain, count, open_platform


def infer(args: argparse.Namespace) -> int:
    from cdp_assets.events.plan.infer import infer as draft

    text = draft(open_platform().lake, args.source or None, args.event or None)
    print(text, end="")
    if text.count("\n") == 3:
        complain("no such events are stored yet: ingest some, then draft a plan of them")
    return 0


def check(args: argparse.Namespace) -> int:
    from cdp_assets.events.plan.trial import trial

    here = open_platform()
    plan, sources = _plan(here, args.name)
    if plan is None:
        return 2
    since = here.now.date() - timedelta(days=args.days) if args.days else None
    looked, found = trial(here.lake, plan, args.source or sources, since)
    for (event, code, action), events in sorted(found.items(), key=lambda i: (-i[1], i[0])):
        print(f"{events:>10,}  {event}  {code}  → {action}")
    print(f"{looked:,} stored events of {', '.join(args.source or sources) or 'no source'} judged")
    return 1 if found else 0


def schema(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.plans import schema_text
    from cdp_assets.profiles.errors import nearest

    plan, _ = _plan(open_platform(), args.name)
    if plan is None:
        return 2
    if ("track", args.event) not in plan.rules:
        near = nearest(args.event, plan.event_rules)
        complain(f"`{args.name}` plans no event `{args.event}`{near}")
        return 2
    print(schema_text(plan, args.event))
    return 0


def seen(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.plans import pii_classes
    from cdp_assets.events.properties import PROPERTIES, build_properties

    here = open_platform()
    build_properties(here.lake)
    classes = pii_classes(here.deployment)
    rows = here.lake.open(PROPERTIES).scan().collect()
    if rows.is_empty():
        complain("no events are stored yet")
    for row in rows.sort("source", "type", "event", "property").iter_rows(named=True):
        if args.event and row["event"] not in args.event:
            continue
        if not row["property"]:
            name = row["event"] or row["type"]
            print(f"{row['source']}: {name}  {row['count']:,} times")
            continue
        marks = "  types clash" if row["clash"] else ""
        marks += f"  like {row['alike']}" if row["alike"] else ""
        pii = classes.get((row["type"], row["event"], row["property"]))
        marks += f"  pii: {pii}" if pii else ""
        print(f"  {row['property']}  {row['kind']}  {row['count']:,}{marks}")
    return 0


def quarantine(args: argparse.Namespace) -> int:
    from cdp_assets.events.waiting import waiting

    rows = waiting(open_platform().lake, args.source)
    for row in rows.iter_rows(named=True):
        print(f"{row['rows']:>8,}  {row['source']}  {row['reason']}  {row['detail']}")
        print(f"          since {row['first_seen']:%Y-%m-%d}, such as {row['example']}")
    total = int(rows["rows"].sum()) if len(rows) else 0
    print(f"{total:,} lines wait" + (": mend, then `cdp replay events`" if total else ""))
    return 0


def features(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.feature_use import feature_use, features_of, map_of
    from cdp_assets.events.features import build_features

    here = open_platform()
    config, today = features_of(here.deployment), here.now.date()
    if config is None:
        complain("no features are declared: dg scaffold defs cdp_assets.Features features")
        return 2
    build_features(here.lake, map_of(here.deployment))
    print(f"{'feature':<30} {'people':>8} {'uses':>10} {'days':>5}  last used")
    for use in feature_use(here, args.days, today):
        last = use.last.date().isoformat() if use.last else "never"
        idle = "  unused: drop it?" if use.idle(today, config.unused_after) else ""
        print(f"{use.feature:<30} {use.people:>8,} {use.uses:>10,} {use.days:>5}  {last}{idle}")
    return 0


def transform_test(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.transforms import transform_named, try_transform
    from cdp_assets.profiles.errors import nearest

    declared = open_platform().deployment.declared
    known = {name: item for name, item in declared.items() if transform_named(item)}
    if args.name and args.name not in known:
        near = nearest(args.name, known)
        complain(f"no source `{args.name}` with a transformation in defs/{near}")
        return 2
    wrong = 0
    for name in [args.name] if args.name else known:
        cases, unlike = try_transform(known[name])
        for where, said in unlike:
            print(f"{name}: {where}")
            print("".join(f"  {line}\n" for line in said), end="")
        wrong += len(unlike)
        print(f"{name}: {cases - len(unlike)} of {cases} cases come out as they should")
    return 1 if wrong else 0


def _plan(here: Any, name: str) -> tuple[Any, list[str]]:
    from cdp_assets.deployment.plans import plans, plans_of_sources
    from cdp_assets.profiles.errors import nearest

    known = plans(here.deployment)
    if name not in known:
        complain(f"no tracking plan `{name}` in defs/{nearest(name, known)}")
        return None, []
    return known[name], [s for s, p in plans_of_sources(here.deployment).items() if p.name == name]


def add_commands(add: Add) -> None:
    """Add them to the parser."""
    group = add(
        "tracking-plan", lambda args: 2, "Draft a tracking plan, try one, show its schemas."
    )
    parts = group.add_subparsers(metavar="WHAT", required=True)

    def part(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = parts.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    one = part("infer", infer, "Draft a plan from the events that are stored, as a defs.yaml.")
    one.add_argument("--source", action="append", help="only events of this source; repeatable")
    one.add_argument("--event", action="append", help="only this event; repeatable")
    one = part(
        "check",
        check,
        "Judge stored events by a plan and count what breaks it; nothing is changed. Ends with 1 "
        "where anything does.",
    )
    one.add_argument("name", help="name of the folder in defs/ that declares it")
    one.add_argument("--source", action="append", help="a source; by default those that name it")
    one.add_argument("--days", type=count, default=0, help="only the last days; by default all")
    one = part("schema", schema, "Print the JSON Schema that an event is judged by.")
    one.add_argument("name", help="the plan")
    one.add_argument("event", help="the event")
    one = part("seen", seen, "List every property seen with its types.")
    one.add_argument("--event", action="append", help="only this event; repeatable")
    group = add("transform", lambda args: 2, "Try the transformations of sources.")
    parts = group.add_subparsers(metavar="WHAT", required=True)
    one = part(
        "test", transform_test, "Run the cases of fixtures.yaml; ends with 1 where any fails."
    )
    one.add_argument("name", nargs="?", help="a source; by default all that have a transformation")
    one = add("features", features, "Which product features are used, by how many, and which not.")
    one.add_argument("--days", type=count, default=30, help="figures of so many last days")
    one = add("quarantine", quarantine, "What waits in quarantine: how much, why, and an example.")
    one.add_argument("--source", help="only of this source")
