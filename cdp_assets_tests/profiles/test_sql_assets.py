"""What Dagster is told of traits from SQL files: what they read, and when their text changes."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from cdp_assets.definitions import load
from cdp_assets.deployment.catalog import trait_inputs
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.profiles import TraitError
from cdp_assets_tests.components.projects import Project
from cdp_assets_tests.components.projects import project as make_project

TRAITS = """\
type: cdp_assets.Traits
attributes:
  entity: {entity}
  traits:
    orders: {{select: count(*), from: Order Completed}}
    score: {{sql: score.sql, type: integer}}
"""
QUIET = "select profile_id, 1 as score from person"
BUSY = """\
with one as (select count(*) as n from events_order_completed)
select p.profile_id, p.orders as score
from person p cross join one cross join account cross join records_relation
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    found = make_project(tmp_path, name="sql_files", own_defs=False)
    monkeypatch.syspath_prepend(str(found.root / "src"))
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    found.write("app", "type: cdp_assets.EventFiles\nattributes: {path: none/*.jsonl}\n")
    found.write("people", TRAITS.format(entity="person"))
    found.write("companies", TRAITS.format(entity="account"))
    write(found, "people", QUIET)
    write(found, "companies", QUIET.replace("person", "account"))
    return found


def write(project: Project, folder: str, text: str) -> None:
    project.file(folder).with_name("score.sql").write_text(text)


def person(project: Project) -> dg.AssetSpec:
    specs = load(project.root).resolve_all_asset_specs()
    return next(spec for spec in specs if spec.key.to_user_string() == "profiles/person")


def test_what_a_sql_file_reads_and_says(project: Project) -> None:
    quiet = person(project)
    write(project, "people", BUSY)
    busy = person(project)
    deps = [{dep.asset_key.to_user_string() for dep in spec.deps} for spec in (quiet, busy)]
    assert deps[1] - deps[0] == {"profiles/account", "records/relation"}
    assert "events/order_completed" in deps[1]
    lineage = busy.metadata["dagster/column_lineage"].deps_by_column
    assert [dep.column_name for dep in lineage["score"]] == ["orders"]
    assert quiet.code_version != busy.code_version


def test_entities_that_read_each_other(project: Project) -> None:
    write(project, "people", BUSY)
    write(project, "companies", "select a.profile_id, 1 as score from account a cross join person")
    with pytest.raises(TraitError, match="must not read the other"):
        trait_inputs(load_deployment(project.defs), "person")
