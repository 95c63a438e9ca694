"""Measure the marks of speed: `python -m cdp_assets_tests.benchmarks [NAME …] [--size PART]`.

Ratios are measured in one run; nothing is asserted. A mark that is missed says so.
"""

from __future__ import annotations

import argparse

from cdp_assets_tests.benchmarks import (
    bulk,
    collector,
    events,
    idle,
    plan,
    profiles,
    pull,
    push,
    sessions,
)
from cdp_assets_tests.benchmarks.base import machine

BENCHMARKS = {
    "pull": pull.run,
    "bulk": bulk.run,
    "collector": collector.run,
    "events": events.run,
    "profiles": profiles.run,
    "sessions": sessions.run,
    "plan": plan.run,
    "push": push.run,
    "idle": idle.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--size", type=float, default=1.0, help="part of the data that a mark asks for (1.0)"
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: take {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        print(f"{name} ({machine()})", flush=True)
        for verdict in BENCHMARKS[name](options.size):
            print(f"  {verdict.line()}", flush=True)


if __name__ == "__main__":
    main()
