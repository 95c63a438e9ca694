"""`make example-cdnow`: real purchases backfilled by day, profiles built as of 1998-06-30, the
customers created in the stand-in HubSpot. Prints what is read back from the profiles."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
NOW = "1998-06-30T23:59:59Z"
FILE = "CDNOW_master.txt"
MARK = ".example-cdnow"


def purchases(home: Path) -> Path:
    """The file of purchases: from DATA, else out of the package `lifetimes`, fetched for this."""
    folder = os.environ.get("DATA")
    if folder:
        file = Path(folder) / "cdnow" / FILE
        return file if file.is_file() else Path(folder) / FILE
    target = home / FILE
    if not target.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch]
            subprocess.run([*command, "lifetimes==0.11.3"], check=True)
            wheel = next(Path(scratch).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                name = next(n for n in archive.namelist() if n.endswith(FILE))
                target.write_bytes(archive.read(name))
    return target


@contextmanager
def step(text: str) -> Iterator[None]:
    start = time.monotonic()
    print(f"{text} … ", end="", flush=True)
    yield
    print(f"{time.monotonic() - start:.1f} s", flush=True)


def main() -> None:
    from cdp_assets.settings import Settings

    base = Settings().home
    home = base.with_name(f"{base.name}-example-cdnow")
    if home.exists() and not (home / MARK).is_file():
        sys.exit(f"{home} is in use and not by this example: set CDP_HOME to another folder")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)
    (home / MARK).touch()
    os.environ.update(
        CDP_HOME=str(home), CDP_NOW=NOW, DAGSTER_HOME=str(home / "dagster"),
        CDP_DEFS=str(HERE / "cdnow" / "defs"), CDNOW=str(purchases(home)),
    )  # fmt: skip
    sys.path.insert(0, str(HERE))

    from cdp_assets.up import prepare_home, process_group, read_announcements, sandbox_command

    environment = prepare_home(Settings())
    command = sandbox_command(home / "sandbox", people=10, seed=1, port=0)
    with process_group(command, stdout=subprocess.PIPE, env=environment) as stand_in:
        hubspot = read_announcements(stand_in, 3)["hubspot"]
        os.environ.update(HUBSPOT_URL=hubspot["url"], HUBSPOT_TOKEN=hubspot["token"])
        run()


def run() -> None:
    import dagster as dg
    import polars as pl
    from cdnow.definitions import defs

    from cdp_assets.audiences import members
    from cdp_assets.demo_runs import Runs
    from cdp_assets.profiles import evaluated
    from cdp_assets.settings import Settings

    runs = Runs(Settings(), defs())
    key = dg.AssetKey
    with step("Backfilling 546 days of purchases through Dagster's partitions"):
        runs.launch([key("events")], first=date(1997, 1, 1), last=date(1998, 6, 30))
    with step("Records, identity, profiles, audience, and the sync's plan"):
        keys = [k for k in runs.keys if k.path[0] not in ("raw", "events")]
        runs.launch(keys)
    with step("Approving the plan and creating the customers in the stand-in HubSpot"):
        applied = runs.approve_and_apply()

    here = runs.here
    people = evaluated(here.lake, "person", here.now).collect()
    people = people.filter(pl.col("frequency") > 0)
    lapsed = members(here.lake, "lapsed_good_customers").collect().height
    print(f"{people['frequency'].sum():,} purchases")
    print(f"{people.height:,} customers")
    print(f"{int(people['cds'].sum()):,} CDs")
    print(f"{people['monetary_value'].sum():,.2f} dollars")
    print(f"{lapsed:,} lapsed good customers")
    counts = applied.counts["syncs/customers_to_hubspot"]
    print(f"{counts['created']:,} contacts created in {counts['api_calls']:,} calls")
    print(f"Everything is in {os.environ['CDP_HOME']}")


if __name__ == "__main__":
    main()
