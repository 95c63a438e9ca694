"""What of `cdp` is about the collector: serve, keys, snippet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from cdp_assets.cli_base import Add, complain, count, open_platform
from cdp_assets.settings import Settings

if TYPE_CHECKING:
    from cdp_assets.collector.tail import Seen


def serve(args: argparse.Namespace) -> int:
    from cdp_assets.deployment import collecting

    def announce(url: str) -> None:
        print(json.dumps({"collector": {"url": url}, "url": url}), flush=True)

    return collecting.serve(Settings(), args.host, args.port, args.workers, announce)


def tail(args: argparse.Namespace) -> int:
    from cdp_assets.collector.tail import follow, plain
    from cdp_assets.deployment.collecting import verdicts

    settings = Settings()

    def stream() -> Iterator[Seen | None]:
        return follow(settings.landing, verdicts(settings), args.source, args.last)

    if args.page:
        import uvicorn

        from cdp_assets.collector.debugger import debugger_app

        complain(f"http://127.0.0.1:{args.port}  (Ctrl-C ends it)")
        uvicorn.run(debugger_app(stream), host="127.0.0.1", port=args.port, log_level="warning")
        return 0
    for event in stream():
        if event is not None:
            print(event.line(), flush=True)
            if args.payload:
                print(f"  {plain(event.payload)}", flush=True)
    return 0


def create_key(args: argparse.Namespace) -> int:
    from cdp_assets.store import keys

    here = open_platform()
    known = {*here.deployment.event_sources}
    if args.source not in known:
        there = ", ".join(sorted(known)) or "none"
        complain(
            f"no event source `{args.source}` in defs/; there are: {there}. Declare it: "
            f"dg scaffold defs cdp_assets.EventSource {args.source}"
        )
        return 2
    if args.replace:
        keys.revoke(here.store, args.name, here.now + timedelta(hours=args.overlap), args.source)
    print(keys.create(here.store, args.name, args.source, here.now))
    complain("Keep it now: it is shown this once. It counts within five seconds.")
    return 0


def list_keys(args: argparse.Namespace) -> int:
    from cdp_assets.store import keys

    here = open_platform()
    for name, config in sorted(here.deployment.event_sources.items()):
        if config.write_key:
            print(f"{name}  public  {config.write_key}  origins: {', '.join(config.origins)}")
    for key in keys.every(here.store):
        state = "good" if key.good_at(here.now) else "revoked"
        until = f" until {key.revoked_at:%Y-%m-%d %H:%M} UTC" if key.revoked_at else ""
        print(f"{key.source}  server  {key.prefix}…  {key.name}  {state}{until}")
    return 0


def revoke_key(args: argparse.Namespace) -> int:
    from cdp_assets.store import keys

    here = open_platform()
    try:
        done = keys.revoke(here.store, args.name, here.now, args.source)
    except keys.Ambiguous as error:
        there = ", ".join(error.sources)
        complain(f"several sources have a key named `{args.name}`: {there}. Say which: --source")
        return 2
    if not done:
        of = f" of `{args.source}`" if args.source else ""
        complain(f"no good server key{of} is named `{args.name}`; `cdp keys list` shows them all")
        return 2
    print(f"{done} revoked; refused within five seconds")
    return 0


def show_snippet(args: argparse.Namespace) -> int:
    from cdp_assets.collector.snippet import tag

    sources = open_platform().deployment.event_sources
    keys = {name: config.write_key for name, config in sources.items() if config.write_key}
    if args.source not in keys:
        there = ", ".join(sorted(keys)) or "none"
        complain(f"no event source `{args.source}` with a `write_key` in defs/; there are: {there}")
        return 2
    print(tag(keys[args.source], args.host.rstrip("/")))
    return 0


def add_commands(add: Add) -> None:
    """Add these sub-commands to the parser."""
    one = add("serve", serve, "Take events over HTTP, as the SDKs of Segment and RudderStack send.")
    one.add_argument("--host", default="127.0.0.1", help="address to listen on")
    one.add_argument("--port", type=count, default=8080, help="port; 0 takes a free one")
    one.add_argument("--workers", type=count, default=1, help="processes")
    one = add("tail", tail, "Show events as they reach the collector on this machine.")
    one.add_argument("--source", help="of this source alone")
    one.add_argument("--last", type=count, default=10, help="begin with so many requests")
    one.add_argument("--payload", action="store_true", help="with what was sent")
    one.add_argument("--page", action="store_true", help="as a page in the browser")
    one.add_argument("--port", type=count, default=8081, help="port of the page on 127.0.0.1")
    keys = add("keys", list_keys, "Write keys: list, create or revoke those of servers.")
    verbs = keys.add_subparsers(metavar="VERB")
    one = verbs.add_parser("list", help="all keys")
    one.set_defaults(run=list_keys)
    one = verbs.add_parser("create", help="make a server key; it is shown once")
    one.add_argument("source", help="name of the folder in defs/ that declares the event source")
    one.add_argument("--name", default="default", help="how people speak of it")
    one.add_argument(
        "--replace", action="store_true", help="revoke the source's older keys of this name"
    )
    one.add_argument(
        "--overlap", type=count, default=24, metavar="HOURS",
        help="with --replace: how long the older keys stay good",
    )  # fmt: skip
    one.set_defaults(run=create_key)
    one = verbs.add_parser("revoke", help="refuse a server key from now on")
    one.add_argument("name", help="its name, or its first characters as listed")
    one.add_argument("--source", help="of this source alone; needed where several have the name")
    one.set_defaults(run=revoke_key)
    one = add("snippet", show_snippet, "The HTML that makes a website send what happens on it.")
    one.add_argument("source", help="name of the folder in defs/ that declares the event source")
    one.add_argument(
        "--host", required=True, metavar="URL", help="the collector, as browsers reach it"
    )
