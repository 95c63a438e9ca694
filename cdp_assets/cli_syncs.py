"""The sub-commands of `cdp` that are about syncs: what they would write, and who lets them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdp_assets.cli_base import Add, complain, count, open_platform


def fields(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.fields import make_fields, missing_fields

    here = open_platform()
    if args.what == "list":
        found = missing_fields(here, args.name)
        for item in found:
            print(f"{item.object}.{item.info.name}  {item.info.type}")
        if not found:
            print(f"every field that {args.name} writes is there")
        return 0
    done = make_fields(here, args.name)
    if not done.made:
        print(f"every field that {args.name} writes is there")
        return 0
    names = ", ".join(f"{item.object}.{item.info.name}" for item in done.made)
    if done.package is None:
        print(f"made: {names}")
        return 0
    args.out.write_bytes(done.package)
    print(f"{args.out} holds {names},")
    print("and a permission set `CDP fields`. Their administrator deploys it:")
    print(f"  sf project deploy start --metadata-dir {args.out} --single-package")
    print("and gives the permission set to the user that this deployment signs in as.")
    return 0


def plan(args: argparse.Namespace) -> int:
    from cdp_assets import report

    here = open_platform()
    require(here, args.name)
    result = here.plan(args.name)
    form = "json" if args.json else args.format
    if form != "table":
        print(report.rows_as(result.rows, form))
        return 0
    for line in report.plan_lines(here, args.name, result, limit=args.limit):
        print(line)
    return 0


def approve(args: argparse.Namespace) -> int:
    from cdp_assets.syncs import ApprovalError

    here = open_platform()
    if args.plan is None:
        lines = list(_waiting(here))
        print("\n".join(lines) if lines else "no plan waits for approval")
        return 0
    try:
        for name in here.syncs_of_plan(args.plan):
            require(here, name)
        name = here.approve(args.plan, who=_who(args))
    except ApprovalError as error:
        complain("\n".join([str(error), *_waiting(here)]))
        return 2
    if args.quiet:
        return 0
    print(f"Plan {args.plan} of {name} is approved. The next run of syncs/{name} applies it if")
    print(
        "the world has not moved; to apply it now: dg launch --assets "
        f'\'key:"syncs/{name}/plan" or key:"syncs/{name}"\''
    )
    return 0


def pause(args: argparse.Namespace) -> int:
    here = open_platform()
    if args.name is None and not args.all:
        found = here.pauses()
        for item in found:
            what = "all syncs" if item.of_all else item.sync
            print(f"{what}: paused {item.since}")
        if not found:
            print("nothing is paused")
        return 0
    here.pause(None if args.all else args.name, _who(args), args.why)
    print(f"{_what(args)} from now on; a run under way ends the plan it has begun")
    print(f"to go on: cdp resume {'--all' if args.all else args.name}")
    return 0


def resume(args: argparse.Namespace) -> int:
    if args.name is None and not args.all:
        complain("say which sync, or --all")
        return 2
    here = open_platform()
    if here.resume(None if args.all else args.name):
        print("every sync may write again" if args.all else f"{args.name} may write again")
    else:
        print("it was not paused")
    still = [p for p in here.pauses() if p.of_all]
    if still and not args.all:
        complain("all syncs are paused still: cdp resume --all")
        return 1
    return 0


def undo(args: argparse.Namespace) -> int:
    from cdp_assets import report

    here = open_platform()
    if args.approve is None:
        found = here.undo(args.run_id, args.sync)
        if args.format != "table":
            print(report.rows_as(found.rows, args.format))
        else:
            print("\n".join(report.undo_lines(found, args.limit)))
        return 0
    found, sent = here.apply_undo(args.run_id, args.approve, _who(args), args.sync)
    print(f"{sent.written:,} records of {found.sync} are as they were before run {found.run[:8]};")
    print(f"{sent.failed:,} were refused (see cdp letters), {found.left:,} fields were left alone.")
    print(f"{found.sync} is paused: its next run would tell everything again. When what made it")
    print(f"wrong is mended: cdp resume {found.sync}")
    return 1 if sent.failed or sent.unknown else 0


def _who(args: argparse.Namespace) -> str:
    return args.who or os.environ.get("USER") or "unknown"


def _what(args: argparse.Namespace) -> str:
    return "every sync writes nothing" if args.all else f"{args.name} writes nothing"


def require(here: Any, name: str) -> None:
    """Nothing is planned, approved or let go again while `cdp check` has something against it."""
    from cdp_assets.deployment.sync_checks import require_sync

    require_sync(here.deployment, name, here.settings)


def _waiting(here: Any) -> Iterator[str]:
    """The plans that wait for a yes: sync, hash as it may be typed, rows, age."""
    from cdp_assets.report import aligned

    found = here.waiting_plans()
    if found:
        rows = [
            [head.sync, head.hash[:12], f"{head.creates + head.updates:,}", _ago(here, head)]
            for head in found
        ]
        yield from aligned([["waits for approval", "plan", "rows", "made"], *rows])


def _ago(here: Any, head: Any) -> str:
    minutes = max(0, int((here.now - head.made_at).total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 2 * 24 * 60 else f"{minutes // 1440} days ago"


def resync(args: argparse.Namespace) -> int:
    here = open_platform()
    require(here, args.name)
    read, differing = here.resync(args.name)
    print(f"{read:,} records that {args.name} told were read; {differing:,} hold something else,")
    print(f"and its next plan tells them again: cdp plan {args.name}")
    return 0


def add_commands(add: Add) -> None:
    """Add the sub-commands to the parser."""
    one = add("fields", fields, "The fields that a sync writes and its system does not have yet.")
    one.add_argument("what", choices=["list", "create"], help="name them, or make them")
    one.add_argument("name", help="the sync")
    one.add_argument(
        "--out",
        type=Path,
        default=Path("cdp-fields.zip"),
        help="where the package for a Salesforce administrator goes",
    )
    one = add("plan", plan, "Show what a sync would write, field by field. Writes nothing.")
    one.add_argument("name", help="the sync")
    one.add_argument("--limit", type=count, default=20, help="rows to show")
    one.add_argument(
        "--format",
        choices=["table", "json", "csv"],
        default="table",
        help="for people, or the whole plan for programs and spreadsheets",
    )
    one.add_argument("--json", action="store_true", help="the same as --format json")
    one = add("approve", approve, "Approve a plan by its hash; without one, list those that wait.")
    one.add_argument("plan", nargs="?", help="hash of the plan, its beginning is enough")
    one.add_argument("--who", help="who approves (by default $USER)")
    one.add_argument("--quiet", action="store_true", help="say nothing where it is approved")
    one = add("pause", pause, "Let a sync write nothing for now; without a name, list the pauses.")
    one.add_argument("name", nargs="?", help="the sync")
    one.add_argument("--all", action="store_true", help="every sync, those to come too")
    one.add_argument("--why", default="no reason given", help="shown to whoever wonders")
    one.add_argument("--who", help="who pauses it (by default $USER)")
    one = add("resume", resume, "Let a paused sync write again.")
    one.add_argument("name", nargs="?", help="the sync")
    one.add_argument("--all", action="store_true", help="lift the pause of all syncs")
    one = add(
        "undo",
        undo,
        "Show what would bring back the records that a run wrote, except where somebody changed "
        "them since. Writes nothing without --approve.",
    )
    one.add_argument("run_id", metavar="run", help="the run's id, its beginning is enough")
    one.add_argument("--sync", help="which sync, where the run wrote for several")
    one.add_argument("--limit", type=count, default=20, help="rows to show")
    one.add_argument("--format", choices=["table", "json", "csv"], default="table", help="see plan")
    one.add_argument("--approve", metavar="PLAN", help="do it, if this is still the plan")
    one.add_argument("--who", help="who approves (by default $USER)")
    one = add(
        "resync",
        resync,
        "Read every record that a sync told, so that its next plan tells again what differs.",
    )
    one.add_argument("name", help="the sync")
