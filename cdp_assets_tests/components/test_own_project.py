"""A project of one's own: the wheel in a venv of its own, an empty dg project, each kind of thing
scaffolded, checked and loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.scaffold.scaffold import get_scaffolder

import cdp_assets
from cdp_assets.cli import main as cdp
from cdp_assets.settings import Settings
from cdp_assets_tests.components.commands import run
from cdp_assets_tests.components.projects import ROOT, Project, project

SCAFFOLDED = {
    "Salesforce": "salesforce",
    "HubSpot": "hubspot",
    "Zendesk": "zendesk",
    "SugarCRM": "sugarcrm",
    "EventFiles": "app",
    "Files": "orders",
    "Identity": "identity",
    "Sessions": "sessions",
    "Traits": "person",
    "Audience": "active_people",
    "Sync": "people_to_salesforce",
}
"""Component → the name it is scaffolded under, in the order of the tutorial."""


def _scaffold(mine: Project, kind: str) -> None:
    """What `dg scaffold defs cdp_assets.KIND NAME` does, without the seconds that `dg` takes."""
    scaffolder = get_scaffolder(getattr(cdp_assets, kind))
    assert isinstance(scaffolder, dg.Scaffolder)
    params = scaffolder.get_scaffold_params()
    target = mine.defs / SCAFFOLDED[kind]
    target.mkdir()
    scaffolder.scaffold(
        dg.ScaffoldRequest(
            type_name=f"cdp_assets.{kind}",
            target_path=target,
            scaffold_format="yaml",
            project_root=mine.root,
            params=params(),
        )
    )


@pytest.mark.parametrize(
    "kinds",
    [
        ("Salesforce", "Identity", "Traits", "Audience", "Sync"),
        ("HubSpot", "Identity", "Traits", "Audience", "Sync"),
        ("Zendesk", "Identity", "Traits", "Audience", "Sync"),
        ("SugarCRM", "Identity", "Traits", "Audience", "Sync"),
        ("EventFiles", "Identity", "Traits", "Audience"),
        ("Files", "Identity", "Traits", "Audience"),
        tuple(SCAFFOLDED),
    ],
    ids="+".join,
)
def test_what_is_scaffolded_loads_without_a_mistake(
    kinds: tuple[str, ...], tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"mine_{len(kinds)}_{kinds[0].lower()}"
    mine = project(tmp_path / "mine", name=name, own_defs=False)
    for kind in kinds:
        _scaffold(mine, kind)
    assert mine.mistakes(settings) == []
    monkeypatch.syspath_prepend(str(mine.root / "src"))
    monkeypatch.chdir(mine.root)
    defs = dg.load_from_defs_folder(path_within_project=mine.defs.parent)
    specs = {spec.key for spec in defs.resolve_all_asset_specs()}
    missing = {
        dep.asset_key.to_user_string()
        for spec in defs.resolve_all_asset_specs()
        for dep in spec.deps
        if dep.asset_key not in specs
    }
    assert missing == set(), "an asset reads what nothing in this project makes"
    assert cdp(["check"]) in (0, 1), "no mistake; a variable may not be set yet"


@dataclass(frozen=True)
class Installed:
    """A venv into which the wheel was installed; the dependencies are those of this one."""

    python: Path
    home: Path

    def dg(self, where: Project, *arguments: str) -> str:
        """`dg` in a project; returns what it printed."""
        main = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        done = run(
            where.root, self.home, str(self.python), "-c", main, *arguments,
            VIRTUAL_ENV=str(self.python.parents[1]), PYTHONPATH=str(where.root / "src"),
            PATH=f"{self.python.parent}:/usr/bin:/bin",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built from the tree and installed by pip."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("cdp_assets", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", "dist"]
    if int(version("setuptools").partition(".")[0]) >= 77:
        build.append("--no-isolation")
    subprocess.run(build, cwd=place, check=True, capture_output=True)
    (wheel,) = (place / "dist").glob("*.whl")
    venv.create(place / "venv", symlinks=True)
    python = place / "venv" / "bin" / "python"
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = place / "venv" / "lib" / name / "site-packages"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    said = run(place / "venv", place / "home", str(python), "-c",
               "import cdp_assets; print(cdp_assets.__file__)")  # fmt: skip
    assert said.stdout.startswith(str(site)), said
    return Installed(python, place / "home")


@pytest.mark.slow
def test_the_wheel_in_a_project_of_ones_own(installed: Installed, tmp_path: Path) -> None:
    mine = project(tmp_path / "mine", name="mine", own_defs=False)
    listed = json.loads(installed.dg(mine, "list", "components", "--json"))
    found = {item["key"]: item["summary"] for item in listed["items"]}
    assert all(found.get(f"cdp_assets.{kind}") for kind in SCAFFOLDED)
    for kind, name in SCAFFOLDED.items():
        installed.dg(mine, "scaffold", "defs", f"cdp_assets.{kind}", name)
        assert mine.file(name).is_file()
    assert "validated successfully" in installed.dg(mine, "check", "yaml")
    assert "loaded successfully" in installed.dg(mine, "check", "defs")
    assets = json.loads(installed.dg(mine, "list", "defs", "--json"))["assets"]
    keys = {asset["asset_key"] for asset in assets}
    assert {"raw/salesforce/contact", "profiles/person", "syncs/people_to_salesforce"} <= keys


@pytest.mark.slow
def test_a_mistake_in_ones_own_project(installed: Installed, tmp_path: Path) -> None:
    mine = project(tmp_path / "mine", name="mine", own_defs=True)
    mine.change("good_customers", "where: orders >= 3", "where: ordrs >= 3")
    with pytest.raises(AssertionError) as caught:
        installed.dg(mine, "check", "defs")
    said = str(caught.value)
    assert "good_customers/defs.yaml:5: where: unknown name ordrs; did you mean orders?" in said
    assert "   5 |   where: ordrs >= 3 and revenue >= 300" in said
