"""What the definitions do on a real instance: sensors, ranges of days, automation, brakes, and
what must never be found in Dagster's home."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdp_assets import identity
from cdp_assets.components.maintenance import prune
from cdp_assets.definitions import load
from cdp_assets.deployment.catalog import profile_table
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets_tests.components.commands import run
from cdp_assets_tests.components.deployed import Deployed, deployed
from cdp_assets_tests.components.projects import ROOT

MARKERS = (b"qzmarker", b"Qzmarkerson", b"5550147765")
MARKED = "ada.qzmarker@leak.example"
PHONE = "+1 415 555 0147765"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The repository's own deployment after its first run, with a marked person everywhere."""
    with deployed(tmp_path_factory.mktemp("house"), load, ROOT / "cdp_assets" / "defs") as house:
        contact = {"LastName": "Qzmarkerson", "Email": MARKED, "Phone": "4155550147765"}
        assert house.world.salesforce("POST", "/sobjects/Contact", json=contact).ok
        now = datetime.now(UTC)
        seen = {
            "type": "identify", "messageId": "m-1", "userId": "qzmarker-1",
            "anonymousId": "qzmarker-device", "timestamp": now.isoformat(),
            "sentAt": now.isoformat(), "traits": {"email": MARKED, "name": "Qzmarkerson"},
        }  # fmt: skip
        broken = '{"type": "track", "event": "Qzmarkerson bought", "traits": {"email": "' + MARKED
        house.drop_events("marked.jsonl", [seen, broken, '{"type":"qzmarker"}', "\udcff" and "[]"])
        done = house.launch(days=(house.first_day(), house.today()))
        assert done.success, _failures(done)
        yield house


def _failures(done: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Step → what a person reads of its failure."""
    found = {}
    for event in done.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            found[str(event.step_key)] = data.user_failure_data.description
        else:
            found[str(event.step_key)] = data.error.message if data.error else ""
    return found


def _leaks(folder: Path) -> list[str]:
    """Files below `folder` that hold a marker, in plain or as pickled text."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            found += [f"{file.name}: {m!r}" for m in MARKERS if m.lower() in content.lower()]
    return found


def test_the_marked_person_is_in_the_lake(house: Deployed) -> None:
    """Else the scans below would prove nothing."""
    assert identity.lookup(house.here.lake, "person", MARKED)


def test_a_run_over_days_counts_each_day(house: Deployed) -> None:
    key = dg.AssetKey(["raw", "salesforce", "contact"])
    days = house.instance.get_materialized_partitions(key)
    first, last = house.first_day(), house.today()
    assert min(days) == first
    assert max(days) == last
    assert len(days) == 6
    counts = house.counts("raw/salesforce/contact")
    assert {"read", "new", "already_stored", "deleted", "api_calls", "window"} <= set(counts)
    assert counts["read"] == counts["new"] + counts["already_stored"]


def test_accounting_passed_wherever_something_is_read(house: Deployed) -> None:
    keys = [key for key in house.keys if key.startswith("raw/")] + ["events"]
    for key in keys:
        check = dg.AssetCheckKey(dg.AssetKey(key.split("/")), "accounting")
        records = house.instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
        assert records[check].status.value == "SUCCEEDED", key


def test_what_was_built_is_sound(house: Deployed) -> None:
    for key, name in (
        ("profiles/person", "one_row_each"),
        ("profiles/account", "one_row_each"),
        ("audiences/good_customers", "members_are_profiles"),
        ("audiences/good_customers", "no_jump"),
    ):
        assert _verdict(house, key, name) == "SUCCEEDED", key


def test_a_lost_profile_stops_what_comes_after(house: Deployed) -> None:
    table = profile_table(house.here.deployment, "person")
    assert table is not None
    people = house.here.lake.open(table)
    lost = people.scan().sort("profile_id").head(1).drop("_seq").collect()
    people.delete(lost.select("profile_id"))
    try:
        done = house.launch("profiles/person", "audiences/good_customers")
        assert not done.success
        assert _verdict(house, "profiles/person", "one_row_each") == "FAILED"
        steps = {event.step_key for event in done.get_step_success_events()}
        assert "build_audience_good_customers" not in steps
    finally:
        people.merge(lost)
    assert house.launch("profiles/person", "audiences/good_customers").success
    assert _verdict(house, "profiles/person", "one_row_each") == "SUCCEEDED"


def _verdict(house: Deployed, key: str, name: str) -> str:
    check = dg.AssetCheckKey(dg.AssetKey(key.split("/")), name)
    records = house.instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    return records[check].status.value


def test_tables_tell_their_rows(house: Deployed) -> None:
    for key in ("profiles/person", "profiles/account", "audiences/good_customers"):
        assert isinstance(house.counts(key)["dagster/row_count"], int), key


def test_no_sensor_asks_for_a_run_without_news(house: Deployed) -> None:
    house.launch(*[k for k in house.keys if k.startswith("raw/")],
                 days=(house.today(), house.today()))  # fmt: skip
    before = len(house.world.control("GET", "journal")["requests"])
    for name in ("app_files", "salesforce_changes", "hubspot_changes"):
        assert isinstance(house.sensor(name), dg.SkipReason), name
    asked = house.world.control("GET", "journal")["requests"][before:]
    assert len(asked) <= 14, "one question an object, and the tokens"


def test_a_changed_record_asks_for_its_object_and_days(house: Deployed) -> None:
    contact = house.world.query("SELECT Id FROM Contact LIMIT 1")[0]["Id"]
    changed = {"Title": "Head of news"}
    time.sleep(1.1)  # a stamp has whole seconds, and the last pull may have ended in this one
    assert house.world.salesforce("PATCH", f"/sobjects/Contact/{contact}", json=changed).ok
    asked = house.sensor("salesforce_changes")
    assert isinstance(asked, dg.RunRequest)
    assert asked.asset_selection == [dg.AssetKey(["raw", "salesforce", "contact"])]
    assert asked.tags["dagster/asset_partition_range_start"] <= house.today()
    assert asked.tags["dagster/asset_partition_range_end"] == house.today()


def test_a_new_file_materialises_the_days_it_holds(house: Deployed) -> None:
    old = datetime.now(UTC) - timedelta(days=3)
    event = {
        "type": "track", "event": "Pricing Viewed", "messageId": "late-1", "userId": "u-late",
        "timestamp": old.isoformat(), "originalTimestamp": old.isoformat(),
        "receivedAt": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    house.drop_events("late.jsonl", [event])
    asked = house.sensor("app_files")
    assert isinstance(asked, dg.RunRequest)
    assert asked.asset_selection == [dg.AssetKey("events")]
    done = house.launch("events")
    assert done.success, _failures(done)
    found = [
        (event.partition, {k: v.value for k, v in event.materialization.metadata.items()})
        for event in done.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("events") and event.partition
    ]
    assert found == [(old.date().isoformat(), {"rows": 1})]
    assert isinstance(house.sensor("app_files"), dg.SkipReason)


def test_the_schedule_asks_from_the_cursor_to_today(house: Deployed) -> None:
    moment = datetime.now(UTC).replace(hour=4, minute=30, second=0, microsecond=0)
    context = dg.build_schedule_context(instance=house.instance, scheduled_execution_time=moment)
    for name in ("salesforce_daily", "hubspot_daily"):
        asked: Any = house.defs.get_schedule_def(name)(context)
        assert asked.tags["dagster/asset_partition_range_end"] == house.today()
        assert asked.tags["dagster/asset_partition_range_start"] <= house.today()


def test_news_run_everything_below_once(house: Deployed) -> None:
    """All keys of a step that cannot run in parts, everything below it in the same run, and no
    second time."""
    ask = dg.evaluate_automation_conditions
    first = ask(defs=house.defs, instance=house.instance)
    first = ask(defs=house.defs, instance=house.instance, cursor=first.cursor)
    assert first.total_requested == 0
    done = house.launch("raw/salesforce/lead", days=(house.today(), house.today()))
    assert done.success, _failures(done)
    second = ask(defs=house.defs, instance=house.instance, cursor=first.cursor)
    every = house.defs.resolve_asset_graph().get_all_asset_keys()
    asked = {key.to_user_string() for key in every if second.get_num_requested(key)}
    below = {
        key for key in house.keys
        if key.split("/")[0] in ("records", "identity", "profiles", "audiences")
    }  # fmt: skip
    assert asked == below
    done = house.launch(*sorted(below))
    assert done.success, _failures(done)
    third = ask(defs=house.defs, instance=house.instance, cursor=second.cursor)
    fourth = ask(defs=house.defs, instance=house.instance, cursor=third.cursor)
    assert fourth.total_requested == 0


def test_wrong_credentials_are_one_message_and_not_retried(
    house: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-na1-not-this-one")
    done = house.launch("raw/hubspot/deals", days=(house.today(), house.today()))
    assert not done.success
    (text,) = _failures(done).values()
    assert "hubspot" in text
    assert "the credentials are refused (HTTP 401)" in text
    assert "pat-na1-not-this-one" not in text
    assert not [e for e in done.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]


def test_an_unset_variable_is_one_message_at_run(
    house: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUBSPOT_TOKEN")
    done = house.launch("raw/hubspot/deals", days=(house.today(), house.today()))
    (text,) = _failures(done).values()
    assert "set the environment variable HUBSPOT_TOKEN" in text
    assert "hubspot/defs.yaml:" in text


def test_definitions_load_while_a_crm_is_down(
    house: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(house.world.control("GET", "journal")["requests"])
    assert load().resolve_asset_graph().get_all_asset_keys()
    assert len(house.world.control("GET", "journal")["requests"]) == before
    monkeypatch.setenv("SALESFORCE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HUBSPOT_URL", "http://127.0.0.1:9")
    assert load().resolve_asset_graph().get_all_asset_keys()


def test_a_brake_keeps_the_push_from_starting(
    house: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """stop_if as a blocking check: what it stops is not even begun."""
    config = house.here.deployment.syncs["people_to_hubspot"]
    tight = config.model_copy(
        update={
            "mode": "upsert", "create": "hubspot.contacts",
            "match": ["linked", {"email": "email"}],
            "stop_if": type(config.stop_if).model_validate({"created": 0}),
        }
    )  # fmt: skip
    own = Deployment.sync
    monkeypatch.setattr(
        Deployment, "sync", lambda self, name: tight if "hubspot" in name else own(self, name)
    )
    before = len(house.world.control("GET", "journal")["requests"])
    done = house.launch("syncs/people_to_hubspot/plan", "syncs/people_to_hubspot")
    assert not done.success
    checks = {e.check_name: e.passed for e in done.get_asset_check_evaluations()}
    assert checks == {"stop_if": False, "fields_still_there": True}
    started = {e.step_key for e in done.all_events if e.event_type_value == "STEP_START"}
    assert started == {"plan_people_to_hubspot"}
    asked = house.world.control("GET", "journal")["requests"][before:]
    assert not [r for r in asked if r["method"] in ("POST", "PATCH") and "batch/" in r["path"]
                and "read" not in r["path"]]  # fmt: skip


def test_a_plan_waits_for_its_approval_and_is_applied_by_launch(house: Deployed) -> None:
    both = ("syncs/people_to_hubspot/plan", "syncs/people_to_hubspot")
    done = house.launch(*both)
    assert done.success, _failures(done)
    assert house.counts(both[1])["written"] == 0
    assert "cdp approve" in house.counts(both[1])["note"]
    plan = house.counts(both[0])["plan"]
    approve = {"ops": {"apply_people_to_hubspot": {"config": {"approve": plan}}}}
    done = house.launch(*both, config=approve)
    assert done.success, _failures(done)
    assert house.counts(both[1])["written"] > 0


def test_a_refused_row_leaves_no_value_behind(house: Deployed) -> None:
    """A system's own words may quote the row."""
    reply = [{"errorCode": "FIELD_INTEGRITY_EXCEPTION", "message": f"{MARKED} is invalid"}]
    fault = {"match": "composite/sobjects", "status": 400, "body": reply, "times": 50}
    house.world.control("POST", "faults", [fault])
    plan, apply = "syncs/people_to_salesforce/plan", "syncs/people_to_salesforce"
    done = house.launch(plan)
    assert done.success, _failures(done)
    approve = {"approve": house.counts(plan)["plan"]}
    done = house.launch(
        plan, apply, config={"ops": {"apply_people_to_salesforce": {"config": approve}}}
    )
    left = house.world.control("GET", "faults")
    house.world.control("DELETE", "faults")
    assert left[0]["hits"] > 0
    told = [*_failures(done).values(), str(house.counts(apply))]
    assert not [text for text in told if "qzmarker" in text]


@pytest.mark.parametrize("method", ["build_profiles", "ingest", "plan"])
def test_an_unforeseen_error_withholds_its_text(
    house: Deployed, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        try:
            raise KeyError(MARKED)
        except KeyError as error:
            raise ValueError(f"cannot convert {MARKED} of Qzmarkerson") from error

    monkeypatch.setattr(Platform, method, fail)
    keys = {
        "build_profiles": "profiles/account",
        "ingest": "events",
        "plan": "syncs/people_to_salesforce/plan",
    }
    done = house.launch(keys[method])
    (text,) = _failures(done).values()
    assert text.startswith("ValueError in ")
    assert "withheld" in text


def test_no_personal_value_in_dagsters_home(house: Deployed) -> None:
    """After all the successes and failures above and a run as people start it: databases, logs,
    compute logs, and what was printed."""
    command = ["dagster", "asset", "materialize", "--select", "profiles/person",
               "-m", "cdp_assets.definitions"]  # fmt: skip
    done = run(ROOT, house.home / "shell", *command, **_own_variables())
    printed = done.stdout + done.stderr
    assert "STEP_SUCCESS" in printed
    for marker in MARKERS:
        assert marker.decode().lower() not in printed.lower()
    home = Path(os.environ["DAGSTER_HOME"])
    assert list(home.rglob("*.err"))
    assert _leaks(home) == []


def _own_variables() -> dict[str, str]:
    """What this house set in the environment."""
    names = ("SALESFORCE_", "HUBSPOT_", "EVENTS_DIR", "CDP_", "DAGSTER_HOME")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


def test_nothing_is_pickled_in_dagsters_home(house: Deployed) -> None:
    home = Path(os.environ["DAGSTER_HOME"])
    files = [f for f in home.rglob("*") if f.is_file() and ".db" not in f.name]
    assert [f.name for f in files if f.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")] == []


def test_old_runs_are_pruned(house: Deployed) -> None:
    before = len(house.instance.get_runs())
    assert prune(house.instance, datetime.now(UTC) - timedelta(days=1)) == 0
    assert len(house.instance.get_runs()) == before > 0
    done = house.launch("audiences/good_customers")
    kept_from = house.instance.get_run_record_by_id(done.run_id).create_timestamp  # type: ignore[union-attr]
    assert prune(house.instance, kept_from, batch=2) == before
    assert [run.run_id for run in house.instance.get_runs()] == [done.run_id]
    assert house.counts("audiences/good_customers")["members"] >= 0
