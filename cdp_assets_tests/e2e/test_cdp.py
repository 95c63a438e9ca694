"""The `cdp` command as its users run it: exit codes, one message and no traceback, no secret."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from cdp_assets.sandbox.standins import CLIENT_SECRET, HUBSPOT_TOKEN
from cdp_assets_tests.e2e.conftest import Story
from cdp_assets_tests.e2e.house import FIRST, House, Said, ledger, set_clock


def well(said: Said) -> str:
    """What a command said that went well."""
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    assert_no_secret(said)
    return said.stdout


def refused(said: Said) -> str:
    """The one message of a command that could not go on."""
    assert said.returncode == 2, said.stderr
    assert said.stdout == ""
    assert "Traceback" not in said.stderr
    assert 0 < len(said.stderr.strip().splitlines()) <= 5
    assert_no_secret(said)
    return said.stderr


def assert_no_secret(said: Said) -> None:
    for secret in (CLIENT_SECRET, HUBSPOT_TOKEN):
        assert secret not in said.stdout + said.stderr


def test_check_and_describe(story: Story) -> None:
    assert "no mistakes" in well(story.house.cdp("check"))
    assert "Contact: " in well(story.house.cdp("describe", "salesforce", "--fields"))
    assert "hubspot, salesforce" in refused(story.house.cdp("describe", "sap"))


def test_an_object_that_the_org_does_not_have(story: Story, tmp_path: Path) -> None:
    """Described once, the org's list of objects judges names; asked anew, the org does."""
    well(story.house.cdp("describe", "salesforce"))
    shutil.copytree(story.house.defs, tmp_path / "defs")
    file = tmp_path / "defs" / "salesforce" / "defs.yaml"
    file.write_text(file.read_text("utf-8").replace("- Task", "- Tsk"), "utf-8")
    wrong = House(story.house.home, story.house.variables, tmp_path / "defs", story.house.now)
    for command in (["check"], ["describe", "salesforce"]):
        said = refused(wrong.cdp(*command))
        assert "salesforce/defs.yaml:12: salesforce has no object `Tsk`" in said
        assert "did you mean Task?" in said


def test_a_mistake_in_defs(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "defs" / "person"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(
        "type: cdp_assets.Traits\nattributes:\n  entity: person\n  traits:\n"
        "    orders: {select: count(*), form: Order Completed}\n",
        "utf-8",
    )
    wrong = House(story.house.home, story.house.variables, tmp_path / "defs", story.house.now)
    for command in (["check"], ["tables"], ["plan", "x"]):
        said = wrong.cdp(*command)
        assert said.returncode == 2
        assert "defs.yaml:5" in said.stderr
        assert "Traceback" not in said.stderr


def test_settings_that_cannot_be(story: Story) -> None:
    said = refused(story.house.cdp("tables", CDP_NOW="yesterday"))
    assert said == "CDP_NOW: expected a moment such as 1998-06-30T23:59:59Z\n"
    said = refused(story.house.cdp("tables", CDP_START="2015-13-01"))
    assert said == "CDP_START: expected a day such as 2015-01-31\n"
    assert "CDP_TIMEZONE" in refused(story.house.cdp("tables", CDP_TIMEZONE="Mars/Base"))


def test_an_empty_home(story: Story, tmp_path: Path) -> None:
    empty = story.house.elsewhere(tmp_path / "empty")
    well(empty.cdp("tables"))
    assert "every table is whole" in well(empty.cdp("fsck"))
    well(empty.cdp("maintain"))
    well(empty.cdp("replay", "events"))
    refused(empty.cdp("explain", "ada@example.com"))
    said = refused(empty.cdp("plan", "people_to_salesforce"))
    assert "profiles" in said
    refused(empty.cdp("approve", "0123456789abcdef"))


def test_plan_approve_and_a_world_that_moved(story: Story, copied: House) -> None:
    """A yes is for one plan: another hash is refused, and an old one writes nothing."""
    defs = copied.home.parent / "defs"
    _defs_that_always_wait(copied.defs, defs, "Title: {value: Customer}")
    house = House(copied.home, copied.variables, defs, FIRST + timedelta(hours=2))
    out = well(house.cdp("plan", "people_to_salesforce", "--limit", "5"))
    assert "cdp approve" in out
    rows = json.loads(well(house.cdp("plan", "people_to_salesforce", "--json")))
    assert {"record", "field", "old", "new", "why"} <= rows[0].keys()
    whole = well(house.cdp("plan", "people_to_salesforce", "--format", "csv"))
    assert whole.splitlines()[0].startswith("plan,profile_id,object,record,op,field,old,new,why")
    assert len(whole.splitlines()) == len(rows) + 1
    (line,) = [line for line in out.splitlines() if line.startswith("calls that write")]
    calls = int(line.split()[3])
    assert 0 < calls <= len({row["record"] for row in rows})
    hash_ = rows[0]["plan"]
    refused(house.cdp("approve", "f" * 12))
    refused(house.cdp("approve", "zz"))
    assert "is approved" in well(house.cdp("approve", hash_[:12], "--who", "tests"))
    # Before it is applied somebody writes one of the planned values by hand.
    object_name, _, record = rows[0]["record"].removeprefix("salesforce.").partition(":")
    path = f"/sobjects/{object_name}/{record}"
    assert story.served.salesforce("PATCH", path, json={"Title": "Customer"}).ok
    before = ledger(house.home).height
    with house.open() as here:
        result = here.apply("people_to_salesforce", "run")
    assert result.written == 0
    assert result.plan != hash_
    assert "approv" in result.message
    said = house.cdp("approve", hash_[:12])
    assert said.returncode == 0 or refused(said)
    with house.open() as here:
        assert here.apply("people_to_salesforce", "run").written == 0, "an old yes writes"
    assert ledger(house.home).height == before


def test_a_resync_finds_what_somebody_changed(story: Story, copied: House) -> None:
    house = copied.at(FIRST + timedelta(hours=2))
    told = house.table("syncs/people_to_salesforce").filter(pl.col("told_at").is_not_null())
    known = told.filter(pl.col("last_Orders__c").is_not_null()).sort("record")
    record, orders = known.select("record", "last_Orders__c").row(0)
    object_name, _, id_ = record.removeprefix("salesforce.").partition(":")
    path = f"/sobjects/{object_name}/{id_}"
    assert story.served.salesforce("PATCH", path, json={"Orders__c": 4711}).ok
    try:
        said = well(house.cdp("resync", "people_to_salesforce"))
        assert "; 1 hold something else" in said
        whole = well(house.cdp("plan", "people_to_salesforce", "--format", "json"))
    finally:
        # The stand-in is shared with the tests that look at what was written.
        assert story.served.salesforce("PATCH", path, json={"Orders__c": int(orders)}).ok
    changed = [row for row in json.loads(whole) if row["old"] == "4711"]
    assert [(row["record"], row["field"]) for row in changed] == [(record, "Orders__c")]
    assert "no sync" in refused(house.cdp("resync", "nobody"))


def test_a_field_that_is_no_longer_if_empty(story: Story, copied: House) -> None:
    """Where `write: if_empty` is taken away, the values that it held back are planned."""
    told = {row["Id"]: row["Title"] for row in story.served.query("SELECT Id, Title FROM Contact")}
    wanted = dict(copied.table("profiles/person").select("profile_id", "title").iter_rows())
    state = copied.table("syncs/people_to_salesforce")
    apart = [
        record
        for record, profile in state.select("record", "profile_id").iter_rows()
        if (now := told.get(record.partition(":")[2])) and now != (wanted.get(profile) or now)
    ]
    assert apart, "the world has titles that differ"
    defs = copied.home.parent / "defs"
    _defs_that_always_wait(copied.defs, defs, "Title: title")
    house = House(copied.home, copied.variables, defs, FIRST + timedelta(hours=2))
    rows = json.loads(well(house.cdp("plan", "people_to_salesforce", "--json")))
    assert {row["record"] for row in rows} >= set(apart)


def _defs_that_always_wait(old: Path, new: Path, title: str) -> None:
    shutil.copytree(old, new)
    file = new / "people_to_salesforce" / "defs.yaml"
    text = file.read_text("utf-8").replace("approve: first", "approve: always")
    text = text.replace("Title: {trait: title, write: if_empty}", title)
    file.write_text(text.replace("changed: 20%, ", ""), "utf-8")


def test_explain_by_every_name(story: Story) -> None:
    graph = story.house.table("identity/graph").filter(pl.col("entity") == "person")
    rich = (
        graph.group_by("profile_id")
        .agg(pl.col("identifier"), pl.col("type").n_unique().alias("kinds"))
        .sort("kinds", "profile_id", descending=[True, False])
        .row(0, named=True)
    )
    profile = rich["profile_id"]
    held = {name.partition(":")[0]: name for name in rich["identifier"]}
    names = [
        str(profile),
        held["email"].removeprefix("email:"),
        held["user_id"].removeprefix("user_id:"),
        held["salesforce.Contact"],
        held["salesforce.Contact"].partition(":")[2],
    ]
    texts = {well(story.house.cdp("explain", name)) for name in names}
    assert len(texts) == 1
    text = texts.pop()
    assert f"person {profile}, built at" in text
    assert "Newer input waits" not in text
    assert "Why these identifiers are one" in text
    assert "raw/salesforce/contact" in text
    brief = well(story.house.cdp("explain", str(profile), "--brief"))
    assert len(brief.splitlines()) == 1


def test_explain_as_of(story: Story) -> None:
    profile = str(story.house.table("profiles/person")["profile_id"].min())
    then = well(story.house.cdp("explain", profile, "--as-of", "2026-06-30"))
    now = well(story.house.cdp("explain", profile))

    def values(text: str) -> list[str]:
        found = (line.partition("    (")[0] for line in text.splitlines() if " = " in line[:40])
        return [v for v in found if not v.startswith(("    ", "days_since", "events_30d"))]

    assert values(then)[:4] == values(now)[:4]
    before = well(story.house.cdp("explain", profile, "--as-of", "2020-01-01"))
    assert "email = —" in before
    refused_text = story.house.cdp("explain", profile, "--as-of", "someday")
    assert refused_text.returncode == 2
    assert "Traceback" not in refused_text.stderr
    assert "expected a day such as 2026-06-30, not 'someday'" in refused_text.stderr


def test_explain_an_account_to_its_subscription(story: Story) -> None:
    accounts = story.house.table("profiles/account").filter(pl.col("mrr") > 0)
    account = str(accounts["profile_id"][0])
    text = well(story.house.cdp("explain", account, "--entity", "account"))
    assert "raw/salesforce/subscription__c" in text
    assert "Newer input waits" not in text


def test_explain_nobody(story: Story) -> None:
    for name in ("nobody@example.invalid", "999999999", "user_id:nope", "", "%", "a:b:c"):
        text = refused(story.house.cdp("explain", name))
        assert "Traceback" not in text
    said = refused(story.house.cdp("explain", "1", "--entity", "acount"))
    assert "no entity `acount`; did you mean account?; there are: person, account, " in said


def test_explain_names_the_file_of_an_event(story: Story) -> None:
    seen = story.house.table("profiles/person").filter(pl.col("last_seen").is_not_null())
    text = well(story.house.cdp("explain", str(seen["profile_id"].min())))
    assert re.search(r"\[file \S*/events/\S+\.jsonl\S* row \d+\]", text)
    assert re.search("[0-9a-f]{64}", text) is None


def test_the_installed_command(story: Story) -> None:
    assert "profiles/person" in well(story.house.command("tables"))
    refused(story.house.command("explain", "nobody@example.invalid"))


def test_the_lake_is_read_as_the_readme_says(
    story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = "lake/profiles/person.delta"
    shutil.copytree(story.house.home / table, tmp_path / table)  # to a path without blanks
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code.replace("~/.local/share/cdp", str(tmp_path)), {})
    assert "shape: (5, 3)" in capsys.readouterr().out


def test_tables_and_replay(story: Story) -> None:
    text = well(story.house.cdp("tables"))
    for key in ("raw/salesforce/contact", "events", "identity/graph", "profiles/person"):
        assert any(line.startswith(f"{key} ") for line in text.splitlines())
    assert "still no events" in well(story.house.cdp("replay", "events"))
    assert "go into the next plan" in well(story.house.cdp("replay", "people_to_salesforce"))
    assert "people_to_salesforce" in refused(story.house.cdp("replay", "nothing"))


def test_fsck_sees_a_lost_and_a_cut_file(copied: House) -> None:
    well(copied.cdp("fsck"))
    folder = copied.home / "lake" / "profiles" / "person.delta"
    Path(DeltaTable(folder).file_uris()[0].removeprefix("file://")).unlink()
    cut = sorted((copied.home / "lake" / "identity" / "graph.delta").glob("*.parquet"))
    for path in cut:
        path.write_bytes(path.read_bytes()[:-100])
    said = copied.cdp("fsck")
    assert said.returncode == 1
    assert "Traceback" not in said.stderr
    assert "profiles/person" in said.stdout
    assert "identity/graph" in said.stdout


def test_a_damaged_table_is_one_message(copied: House) -> None:
    for path in (copied.home / "lake" / "identity" / "graph.delta").glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-100])
    for command in (["explain", "1"], ["plan", "people_to_salesforce"]):
        reply = copied.cdp(*command)
        assert reply.returncode == 2
        assert "Traceback" not in reply.stderr, command
        assert "cdp fsck" in reply.stderr


def test_maintain_changes_no_row(story: Story, copied: House) -> None:
    keys = ("events", "records/values", "identity/graph", "profiles/person", "raw/hubspot/contacts")
    before = {key: copied.table(key).height for key in keys}
    text = well(copied.cdp("maintain"))
    assert "files joined" in text
    assert {key: copied.table(key).height for key in keys} == before
    well(copied.cdp("fsck", "--deep"))
    found = copied.run("records", "resolve", "build")
    assert found["build"]["person"].touched == 0


def test_the_lake_read_by_others(story: Story, copied: House) -> None:
    """Plain polars and DuckDB over the file list see what we see, `deleted_at is null`."""
    for key in ("profiles/person", "identity/graph", "records/values", "events",
                "raw/salesforce/contact", "audiences/good_customers"):  # fmt: skip
        path = copied.home / "lake" / f"{key}.delta"
        with copied.open() as here:
            handle = here.lake.handle(key)
            assert handle is not None
        ours = story.house.table(key).height
        scan = pl.scan_delta(str(path))
        keyed = "deleted_at" in scan.collect_schema().names()
        live = scan.filter(pl.col("deleted_at").is_null()) if keyed else scan
        assert live.select(pl.len()).collect().item() == ours
        files = [name.removeprefix("file://") for name in DeltaTable(path).file_uris()]
        where = "where deleted_at is null" if keyed else ""
        query = f"select count(*) from read_parquet($files, union_by_name=true) {where}"
        counted = duckdb.execute(query, {"files": files}).fetchone()
        assert counted == (ours,)
    revenue = duckdb.execute(
        "select sum(revenue) from read_parquet($files) where deleted_at is null",
        {"files": DeltaTable(copied.home / "lake" / "profiles" / "person.delta").file_uris()},
    ).fetchone()
    assert revenue is not None
    assert revenue[0] == story.house.table("profiles/person")["revenue"].sum()


@pytest.fixture(autouse=True)
def _clock_stands(story: Story) -> None:
    set_clock(story.served, FIRST + timedelta(hours=3))
