"""The `cdp` command. Every sub-command ends in one clear message where it cannot go on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from importlib.metadata import version

from pydantic import ValidationError

from cdp_assets import cli_collector, cli_events, cli_syncs
from cdp_assets.cli_base import Command, complain, open_platform
from cdp_assets.settings import Settings, load_home_env

_FORMS = {
    "date_": "expected a day such as 2015-01-31",
    "datetime_": "expected a moment such as 1998-06-30T23:59:59Z",
}
"""What pydantic says of days and moments, in words that help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command. Returns 0, or 2 where the user has something to mend first."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["sandbox"]:
        from cdp_assets.sandbox import main as sandbox

        return int(sandbox(arguments[1:]) or 0)
    args = _parser().parse_args(arguments)
    os.umask(0o077)
    try:
        load_home_env(Settings().home)
        return int(args.run(args))
    except ValidationError as error:
        for item in error.errors():
            name = "CDP_" + ".".join(str(part) for part in item["loc"]).upper()
            form = next((f for kind, f in _FORMS.items() if item["type"].startswith(kind)), None)
            complain(f"{name}: {form or item['msg'].removeprefix('Value error, ')}")
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        if isinstance(error, _expected()):
            complain(str(error))
        elif _damaged(error):
            complain(
                f"A table could not be read ({type(error).__name__}): one of its files is damaged "
                "or gone. `cdp fsck` names it and says what to do."
            )
        else:
            raise
        return 2


def _damaged(error: BaseException) -> bool:
    # Tables are read lazily, so what a damaged file does surfaces anywhere; in polars as a panic,
    # which is no Exception.
    return type(error).__name__ == "PanicException" or (
        type(error).__name__ in ("ComputeError", "FileNotFoundError")
        and "parquet" in str(error).lower()
    )


def _expected() -> tuple[type[Exception], ...]:
    from cdp_assets.deployment.errors import SAFE_ERRORS

    return SAFE_ERRORS


def demo(args: argparse.Namespace) -> int:
    from cdp_assets.demo import run

    return run(Settings(), people=args.people, seed=args.seed)


def up(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.declarations import find_project
    from cdp_assets.up import serve

    settings = Settings()
    project = find_project(settings)
    return serve(settings, args.port, project.module, project.folder, project.location)


def check(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.checks import check_deployment
    from cdp_assets.deployment.notes import notes, unset_variables

    here = open_platform()
    if problems := check_deployment(here.deployment, here.settings):
        for problem in problems:
            complain(str(problem))
    unset = unset_variables(here.deployment)
    for problem in unset:
        complain(problem.short())
    if problems:
        return 2
    for note in notes(here.deployment, here.settings):
        print(f"note: {note.short()}")
    print(f"{len(here.deployment.declared)} definitions, no mistakes")
    return 1 if unset else 0


def doctor(args: argparse.Namespace) -> int:
    from cdp_assets.deployment.doctor import examine

    levels = set()
    for finding in examine(open_platform()):
        levels.add(finding.level)
        print(f"{finding.level.ljust(6)}  {finding.what}")
        if finding.do:
            print(f"        → {finding.do}")
    return 2 if "broken" in levels else 1 if "look" in levels else 0


def describe(args: argparse.Namespace) -> int:
    here = open_platform()
    description = here.describe(args.source)
    for name, item in sorted(description.objects.items()):
        print(f"{name}: {len(item.fields)} fields")
        if args.fields:
            for field in item.fields.values():
                marks = [m for m in ("unique", "external_id", "calculated") if getattr(field, m)]
                print(f"  {field.name}  {field.type}  {' '.join(marks)}".rstrip())
    return 0


def replay(args: argparse.Namespace) -> int:
    here = open_platform()
    if args.what == "events":
        done = here.replay_events()
        print(
            f"{done.read:,} lines judged again: {done.stored:,} stored, {done.duplicates:,} known,"
        )
        print(
            f"{done.refused:,} still no events, {done.dropped:,} dropped; {done.skipped:,} need "
            "their file read again"
        )
    else:
        cli_syncs.require(here, args.what)
        print(f"{here.replay_sync(args.what):,} rows go into the next plan of {args.what}")
    return 0


def letters(args: argparse.Namespace) -> int:
    from cdp_assets import report

    for line in report.letter_lines(open_platform()):
        print(line)
    return 0


def explain(args: argparse.Namespace) -> int:
    from cdp_assets import report

    here = open_platform()
    moment = None
    if args.as_of:
        # What was received when is told by the clock, whatever time builds take as now.
        if args.as_of > datetime.now(UTC).date():
            complain(f"{args.as_of} is yet to come: leave --as-of out for what is known now")
            return 2
        moment = datetime.combine(args.as_of, time.max, tzinfo=UTC)
    for line in report.explain_lines(here, args.who, args.entity, moment, args.brief):
        print(line)
    return 0


def tables(args: argparse.Namespace) -> int:
    from cdp_assets import report

    for line in report.table_lines(open_platform()):
        print(line)
    return 0


def fsck(args: argparse.Namespace) -> int:
    findings = open_platform().fsck(args.repair, args.drop_lost_files, args.deep)
    for finding in findings:
        print(f"{finding.key}: {finding.kind}: {finding.path}: {finding.advice}")
    if not findings:
        print("every table is whole")
    return 1 if any(finding.grave for finding in findings) else 0


def maintain(args: argparse.Namespace) -> int:
    import dagster as dg

    from cdp_assets.components.maintenance import maintain_all

    here = open_platform()
    home = here.settings.home / "dagster"
    if (home / "dagster.yaml").is_file():
        os.environ["DAGSTER_HOME"] = str(home)
        with dg.DagsterInstance.get() as instance:
            done = maintain_all(here, instance)
    else:
        done = here.maintain()
    for name, value in done.items():
        print(f"{name.replace('_', ' ')}: {value}")
    return 0


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, not {text!r}")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"expected a day such as 2026-06-30, not {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cdp",
        description="A customer data platform on storage you own. Settings are environment "
        "variables (CDP_HOME and others, see docs/settings.md).",
    )
    parser.add_argument(
        "--version", action="version", version=f"cdp-assets {version('cdp-assets')}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    one = add("demo", demo, "Run the whole way once on a made-up company and measure it.")
    one.add_argument("--people", type=int, default=2000, help="people in the made-up world")
    one.add_argument("--seed", type=int, default=1, help="which made-up world")
    one = add("up", up, "Dagster's UI with its daemon, and the demo's stand-in CRMs if any.")
    one.add_argument("--port", type=_port, default=3000, help="port of the UI on 127.0.0.1")
    commands.add_parser("sandbox", help="Serve stand-in CRMs and a made-up company.")
    add(
        "check",
        check,
        "Check defs/: every mistake with file and line. Ends with 0 where all is well, 1 where "
        "only environment variables are missing, 2 where there is a mistake.",
    )
    add(
        "doctor",
        doctor,
        "Look at everything that has to be well: disk, database, tables, keys, rights, allowances, "
        "clocks. Ends with 0 where all is, 1 where something is to be looked at, 2 where broken.",
    )
    one = add("describe", describe, "Ask an outside system for its objects and fields.")
    one.add_argument("source", help="name of the folder in defs/ that declares it")
    one.add_argument("--fields", action="store_true", help="list the fields too")
    cli_syncs.add_commands(add)
    cli_collector.add_commands(add)
    cli_events.add_commands(add)
    one = add("replay", replay, "Try again what was put aside: quarantine, or a sync's rows.")
    one.add_argument("what", help="`events`, or the name of a sync")
    add("letters", letters, "What was put aside: refused rows of syncs, lines in quarantine.")
    one = add("explain", explain, "Why these identifiers are one person, and each value's origin.")
    one.add_argument("who", help="an e-mail, a user id, a record id, or profile:ID")
    one.add_argument("--entity", default="person", help="person, account or another entity")
    one.add_argument(
        "--as-of",
        type=_day,
        metavar="DAY",
        help="the same by what had been pulled and received at the end of a past day (UTC)",
    )
    one.add_argument("--brief", action="store_true", help="one line")
    add("tables", tables, "List the tables of the lake with rows and size.")
    one = add("fsck", fsck, "Look for damage in the lake, and say what to do about it.")
    one.add_argument("--deep", action="store_true", help="decode every file, not only its ends")
    one.add_argument("--repair", action="store_true", help="mend what can be mended safely")
    one.add_argument(
        "--drop-lost-files",
        action="store_true",
        help="with --repair: take lost files out of their table so that the rest can be read; "
        "their rows are gone until they are read again, as the finding says",
    )
    add("maintain", maintain, "Compact and vacuum tables, prune old runs of Dagster.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
