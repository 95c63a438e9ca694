"""A deployment with a tracking plan and features: mistakes with their line, what a run does, what
the commands say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest

from cdp_assets import cli
from cdp_assets.components.base import platform
from cdp_assets.definitions import shared
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.plans import blockers
from cdp_assets.deployment.platform import Platform
from cdp_assets.events.model import Event, judge
from cdp_assets.lake import Table
from cdp_assets.settings import Settings
from cdp_assets_tests.components.deployed import SILENT
from cdp_assets_tests.components.projects import Project, project

PLAN = """\
type: cdp_assets.TrackingPlan
attributes:
  violations: quarantine
  version: 2
  events:
    Report Exported:
      feature: reporting
      properties:
        format: {type: string, enum: [csv, pdf], required: true}
        rows: integer
        recipient: {type: string, pii: email}
    Signed Up: {schema: signed_up.json, violations: flag}
"""
SCHEMA = {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]}
FEATURES = """\
type: cdp_assets.Features
attributes:
  features:
    reporting: {pages: ["/reports/**"]}
    fax: {events: [Fax Sent]}
"""
TRAITS = """\
type: cdp_assets.Traits
attributes:
  entity: person
  traits:
    checkout_variant:
      select: first(variation_name)
      from: Experiment Viewed
      where: experiment_id = 'checkout'
    exports: {select: count(*), from: Report Exported, where: format = 'csv'}
"""
MISTAKES = {
    "a policy": ("quarantine\n", "quarentine\n", 3, "did you mean quarantine?"),
    "a type": ("rows: integer", "rows: intger", 10, "did you mean integer?"),
    "a key": ("required: true", "requird: true", 9, "did you mean required?"),
    "a class": ("pii: email", "pii: emial", 11, "did you mean email?"),
    "a file": ("signed_up.json", "signd_up.json", 12, "did you mean signed_up.json?"),
    "a file elsewhere": ("signed_up.json", "../signed_up.json", 12, "inside the definition's own"),
    "a value of another type": ("[csv, pdf]", "[csv, 5]", 9, "5 in `enum` is no string"),
    "a table's name": ("Signed Up:", "Properties:", 12, "events/properties, which is reserved"),
    "a pattern": ("pii: email", "pattern: '(a'", 11, "is no regular expression"),
    "a limit of another type": (
        "pii: email",
        "minimum: 3",
        11,
        "`minimum` belongs to type integer",
    ),
}


def lines() -> str:
    common = {"userId": "ada", "anonymousId": "d1"}
    said: list[tuple[str, dict[str, Any]]] = [
        ("Report Exported", {"format": "csv", "rows": 3}),
        ("Report Exported", {"format": "doc", "rows": 3, "recipient": "bob@example.com"}),
        ("Signed Up", {"seats": "two"}),
        ("Unheard Of", {}),
        ("Experiment Viewed", {"experiment_id": "checkout", "variation_name": "short"}),
        ("Experiment Viewed", {"experiment_id": "checkout", "variation_name": "long"}),
        ("Experiment Viewed", {"experiment_id": "colour", "variation_name": "red"}),
    ]
    events = [
        {"type": "track", "messageId": f"m{n}", "event": event, "properties": properties,
         "timestamp": f"2026-03-01T00:0{n}:00Z", **common}
        for n, (event, properties) in enumerate(said)
    ]  # fmt: skip
    page = {"url": "https://app.example.com/reports/7", "path": "/reports/7"}
    events.append({"type": "page", "messageId": "p", "context": {"page": page},
                   "timestamp": "2026-03-01T01:00:00Z", **common})  # fmt: skip
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.fixture
def product(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    del settings
    monkeypatch.setenv("CDP_NOW", "2026-03-02T12:00:00Z")
    mine = project(tmp_path / "product", name=f"product_{uuid4().hex[:8]}", own_defs=False)
    monkeypatch.syspath_prepend(str(mine.root / "src"))
    mine.write(
        "app",
        f"type: cdp_assets.EventFiles\nattributes:\n  path: {tmp_path}/*.jsonl\n"
        "  tracking_plan: product\n",
    )
    mine.write("product", PLAN)
    (mine.defs / "product" / "signed_up.json").write_text(json.dumps(SCHEMA))
    mine.write("identity", "type: cdp_assets.Identity\nattributes: {person: {identifiers: "
               "{user_id: {from: [events.userId]}, anonymous_id: {}}}}\n")  # fmt: skip
    mine.write("features", FEATURES)
    mine.write("person", TRAITS)
    (tmp_path / "a.jsonl").write_text(lines())
    os.utime(tmp_path / "a.jsonl", (1e9, 1e9))
    monkeypatch.setenv("CDP_DEFS", str(mine.defs))
    return mine


def here(product: Project) -> Platform:
    return platform(load_deployment(product.defs))


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_of_a_plan_is_named_at_its_place(
    case: str, product: Project, settings: Settings
) -> None:
    old, new, line, message = MISTAKES[case]
    product.change("product", old, new)
    (found,) = product.mistakes(settings)
    assert f"defs.yaml:{line}: " in found
    assert message in found


def test_mistakes_of_those_that_name_a_plan(product: Project, settings: Settings) -> None:
    assert product.mistakes(settings) == []
    product.change("app", "tracking_plan: product", "tracking_plan: prodct")
    (found,) = product.mistakes(settings)
    assert "app/defs.yaml:4: no tracking plan `prodct` in defs/; did you mean product?" in found
    product.change("app", "tracking_plan: prodct", "tracking_plan: product")
    (product.defs / "product" / "signed_up.json").write_text('{"type": "objct"}')
    (found,) = product.mistakes(settings)
    assert "signed_up.json: it is no JSON Schema: at type" in found
    (product.defs / "product" / "signed_up.json").write_text('{\n"type" "object"}')
    assert "signed_up.json is no JSON at line 2" in product.mistakes(settings)[0]


def test_a_plan_alone_tells_of_features(product: Project) -> None:
    product.file("features").unlink()
    made = shared(dg.load_from_defs_folder(path_within_project=product.defs.parent))
    keys = {spec.key.to_user_string() for spec in made.resolve_all_asset_specs()}
    assert {"events/features", "events/properties", "tracking_plan/product"} <= keys


def test_what_does_nothing_is_noted(product: Project, settings: Settings) -> None:
    assert product.notes(settings) == []
    product.write("spare", PLAN.partition("    Signed Up")[0])
    (found,) = product.notes(settings)
    assert found.startswith("spare:")
    assert "no source says `tracking_plan: spare`" in found
    here(product).ingest(None, "run")
    product.change("features", "Fax Sent", "Unheard Off")
    assert any(
        "no event `Unheard Off` was ever seen; did you mean Unheard Of?" in note
        for note in product.notes(settings)
    )


def test_the_collector_hears_what_is_blocked(product: Project) -> None:
    assert blockers(load_deployment(product.defs)) == {}
    product.change("product", "violations: quarantine\n", "violations: block\n")
    (word,) = blockers(load_deployment(product.defs).require_valid()).values()
    told = [word(found, text) for text in lines().encode().splitlines()
            if isinstance(found := judge(text), Event)]  # fmt: skip
    assert [refused.reason for refused in told if refused] == ["violation:enum"]


def test_a_run_judges_counts_and_shows_features(
    product: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    definitions = shared(dg.load_from_defs_folder(path_within_project=product.defs.parent))
    keys = ["events", "events/properties", "events/volumes", "events/features"]
    with dg.DagsterInstance.ephemeral() as instance:
        done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
            run_config=SILENT,
        )
    checks = {check.check_name: check.passed for check in done.get_asset_check_evaluations()}
    assert checks["accounting"]
    assert not checks["in_use"]  # nobody sends a fax
    (made,) = [m for m in done.asset_materializations_for_node("ingest_events")
               if m.asset_key.path == ["events"] and "read" in m.metadata]  # fmt: skip
    assert made.metadata["quarantined"].value == 1
    assert "bob" not in str(made.metadata["waiting_in_quarantine"])
    lake = here(product).lake
    typed = lake.open(Table(key="events/report_exported", schema={"rows": pl.Int64()}))
    assert typed.scan().collect()["rows"].to_list() == [3]

    def said(*command: str) -> str:
        cli.main(command)
        return capsys.readouterr().out

    assert "violation:enum  Report Exported breaks product@2: enum:format" in said("quarantine")
    features = said("features").splitlines()
    assert features[1].split()[:3] == ["reporting", "1", "2"]
    assert features[2].endswith("never  unused: drop it?")
    assert said("tracking-plan", "check", "product").splitlines() == [
        "         3  Experiment Viewed  unplanned_event  → flag",
        "         1  Signed Up  type:seats  → flag",
        "         1  Unheard Of  unplanned_event  → flag",
        "7 stored events of app judged",
    ]
    assert "format  string  1" in said("tracking-plan", "seen", "--event", "Report Exported")
    product.change("product", "rows: integer", "rows: {type: integer, pii: other}")
    assert "rows  integer  1  pii: other" in said("tracking-plan", "seen")
    drafted = said("tracking-plan", "infer")
    assert "Experiment Viewed" in drafted
    assert '"enum"' in said("tracking-plan", "schema", "product", "Report Exported")
    # mended, replayed, stored once, and typed
    product.change("product", "enum: [csv, pdf]", "enum: [csv, pdf, doc]")
    assert "1 stored" in said("replay", "events")
    assert "0 lines wait" in said("quarantine")
    assert typed.scan().collect()["rows"].to_list() == [3, 3]


def test_an_experiments_exposure_is_a_trait(product: Project) -> None:
    now = here(product)
    now.ingest(None, "run")
    now.resolve()
    now.build_profiles("person")
    keys: dict[str, Any] = {"schema": {"profile_id": pl.Int64()}, "primary_key": ("profile_id",)}
    table = now.lake.open(Table(key="profiles/person", evolves=True, **keys))
    (row,) = table.scan().collect().to_dicts()
    assert (row["checkout_variant"], row["exports"]) == ("short", 1)
