"""All definitions of the repository's own defs/: as they were agreed on, and complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from cdp_assets.definitions import load
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets_tests.components.projects import project as make_project

WITHOUT_TABLE = {"crm/salesforce", "crm/hubspot", "files/app", "lake/maintenance"}
LEFT_EDGE = {"raw", "sources", "maintenance"}
ORDER = (
    "sources", "raw", "events", "records", "identity", "sessions", "profiles", "audiences", "syncs"
)  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The definitions, loaded once with nothing set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CDP_START", "CDP_NOW", "DAGSTER_HOME", "EVENTS_DIR"):
            patch.delenv(name, raising=False)
        patch.setenv("CDP_HOME", str(tmp_path_factory.mktemp("home")))
        return load()


def _specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    specs = defs.resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec for spec in specs}


def _columns(spec: dg.AssetSpec) -> list[str]:
    schema = spec.metadata.get("dagster/column_schema")
    return [column.name for column in schema.columns] if schema else []


def _lineage(spec: dg.AssetSpec) -> dict[str, list[str]]:
    lineage = spec.metadata.get("dagster/column_lineage")
    if lineage is None:
        return {}
    return {
        column: [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps]
        for column, deps in lineage.deps_by_column.items()
    }


def _asset(spec: dg.AssetSpec, pools: dict[str, str | None]) -> dict[str, Any]:
    days = spec.partitions_def
    fresh = spec.freshness_policy
    return {
        "automation": spec.automation_condition and spec.automation_condition.get_label(),
        "columns": _columns(spec),
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "freshness": fresh and {
            "fail": str(fresh.fail_window), "warn": str(fresh.warn_window)
        },
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "lineage": _lineage(spec),
        "owners": sorted(spec.owners),
        "partitions": days and {
            "from": days.start.strftime(days.fmt), "end_offset": days.end_offset
        },
        "pool": pools.get(spec.key.to_user_string()),
        "tags": {k: v for k, v in sorted(spec.tags.items()) if not k.startswith("dagster/")},
    }  # fmt: skip


def _everything(defs: dg.Definitions) -> dict[str, Any]:
    repository = defs.get_repository_def()
    pools: dict[str, str | None] = {}
    policies: dict[str, str] = {}
    for assets in repository.assets_defs_by_key.values():
        for key in assets.keys:
            if not assets.is_executable:
                continue
            pools[key.to_user_string()] = getattr(assets.op, "pool", None)
            if assets.backfill_policy:
                policies[key.to_user_string()] = str(assets.backfill_policy.policy_type.name)
    checks = {
        spec.key.to_user_string(): spec.blocking
        for assets in repository.assets_defs_by_key.values()
        for spec in assets.check_specs
    }
    assert checks
    return {
        "assets": {key: _asset(spec, pools) for key, spec in sorted(_specs(defs).items())},
        "backfill_policies": dict(sorted(policies.items())),
        "blocking_by_check": dict(sorted(checks.items())),
        "jobs": sorted(
            job.name for job in repository.get_all_jobs() if not job.name.startswith("__")
        ),
        "schedules": {
            item.name: [item.cron_schedule, item.execution_timezone, item.default_status.name]
            for item in sorted(repository.schedule_defs, key=lambda item: item.name)
        },
        "sensors": {
            item.name: [item.minimum_interval_seconds, item.default_status.name]
            for item in sorted(repository.sensor_defs, key=lambda item: item.name)
        },
    }


def test_definitions_are_as_agreed(own: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    """After an intended change: pytest --snapshot-update, and read the difference."""
    assert _everything(own) == snapshot


def test_every_asset_says_what_it_is(own: dg.Definitions) -> None:
    for key, spec in _specs(own).items():
        assert spec.description, key
        assert spec.owners, key
        assert spec.kinds, key
        assert spec.group_name, key
        assert spec.code_version, key
        assert spec.tags["domain"] == spec.group_name, key
        assert spec.tags["personal_data"] in ("yes", "no"), key


def test_every_table_has_its_columns_with_their_types(own: dg.Definitions) -> None:
    specs = _specs(own)
    assert {key for key, spec in specs.items() if not _columns(spec)} == WITHOUT_TABLE
    for key in set(specs) - WITHOUT_TABLE:
        for column in specs[key].metadata["dagster/column_schema"].columns:
            assert column.type, (key, column.name)


def test_a_column_of_a_profile_says_its_rule(own: dg.Definitions) -> None:
    columns = _specs(own)["profiles/person"].metadata["dagster/column_schema"].columns
    told = {column.name: column.description for column in columns}
    assert told.pop("profile_id"), "what the key is"
    assert all(told.values()), told
    assert told["revenue_90d"].endswith("within: 90d")


def test_lineage_leads_to_columns_that_exist(own: dg.Definitions) -> None:
    """Wherever an asset has something upstream, by names that stand in the schemas."""
    specs = _specs(own)
    columns = {key: set(_columns(spec)) for key, spec in specs.items()}
    for key, spec in specs.items():
        lineage = spec.metadata.get("dagster/column_lineage")
        if spec.group_name in LEFT_EDGE or key == "events":
            assert lineage is None, key
            continue
        assert lineage is not None, key
        for column, deps in lineage.deps_by_column.items():
            assert column in columns[key], (key, column)
            for dep in deps:
                upstream = dep.asset_key.to_user_string()
                assert dep.column_name in columns[upstream], (key, column, upstream)


def test_the_graph_reads_from_left_to_right(own: dg.Definitions) -> None:
    specs = _specs(own)
    for key, spec in specs.items():
        for dep in spec.deps:
            upstream = specs[dep.asset_key.to_user_string()]
            assert ORDER.index(upstream.group_name) <= ORDER.index(spec.group_name), key  # type: ignore[arg-type]


def test_a_changed_rule_changes_the_code_version(own: dg.Definitions) -> None:
    versions = {spec.code_version for key, spec in _specs(own).items() if "audiences/" in key}
    assert len(versions) == 2


def test_only_what_is_agreed_on_runs_by_itself(own: dg.Definitions) -> None:
    """Nothing is switched on before a person does it."""
    repository = own.get_repository_def()
    assert {s.default_status.name for s in repository.sensor_defs} == {"STOPPED"}
    assert {s.default_status.name for s in repository.schedule_defs} == {"STOPPED"}


def test_rows_are_never_handed_to_dagster(own: dg.Definitions) -> None:
    @dg.asset
    def rows() -> list[int]:
        return [1]

    resources = {"io_manager": own.resources["io_manager"]}  # type: ignore[index]
    done = dg.materialize([rows], resources=resources, raise_on_error=False)
    assert not done.success
    failed = done.get_step_failure_events()[0].step_failure_data
    assert "rows go through the lake" in failed.error.cause.message  # type: ignore[union-attr]


TOLD = """\
type: cdp_assets.Sync
attributes:
  from: {origin}
  where: account.mrr > 0 and not in_audience('good_customers')
  to: salesforce.Contact
  purpose: sales
  fields: {{Title: "{{account.mrr}}", Department: {{trait: audiences.big}}}}
"""


def test_a_plan_depends_on_all_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path)
    monkeypatch.syspath_prepend(str(project.root / "src"))
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    big = "type: cdp_assets.Audience\nattributes: {entity: person, where: orders > 9}\n"
    project.write("big", big)
    project.write("all", TOLD.format(origin="person"))
    project.write("some", TOLD.format(origin="audiences.ready_for_sales"))
    specs = _specs(load(project.root))

    def deps(key: str) -> set[str]:
        return {dep.asset_key.to_user_string() for dep in specs[key].deps}

    expected = {"profiles/person", "profiles/account", "identity/graph", "records/person"}
    expected |= {"audiences/good_customers", "audiences/big"}
    assert deps("syncs/all/plan") == expected
    assert deps("syncs/some/plan") == {*expected, "audiences/ready_for_sales"}
    assert specs["syncs/some/plan"].tags["purpose"] == "sales"


def test_a_folder_that_dagster_would_pass_over_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CDP_DEFS", str(tmp_path))
    with pytest.raises(ConfigurationError, match="CDP_DEFS names"):
        load()
