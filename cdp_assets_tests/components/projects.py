"""Projects on disk for the tests: copies of the repository's own defs/ to make mistakes in."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdp_assets.connectors.base import Description, FieldInfo, ObjectInfo
from cdp_assets.deployment.checks import check_deployment
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.notes import notes
from cdp_assets.settings import Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PYPROJECT = """\
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "{name}"
registry_modules = []
"""
DEFINITIONS = """\
from pathlib import Path
import dagster as dg

@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@dataclass(frozen=True)
class Project:
    """A dg project: `root` with its pyproject.toml, `defs` inside its module."""

    root: Path
    defs: Path

    def file(self, name: str) -> Path:
        """The defs.yaml of a folder of defs/."""
        return self.defs / name / "defs.yaml"

    def write(self, name: str, text: str) -> None:
        """Declare something."""
        self.file(name).parent.mkdir(parents=True, exist_ok=True)
        self.file(name).write_text(text, "utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands once in a declaration."""
        text = self.file(name).read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        self.file(name).write_text(text.replace(old, new), "utf-8")

    def mistakes(self, settings: Settings) -> list[str]:
        """What `cdp check` and `dg check defs` both say."""
        return [str(problem) for problem in check_deployment(load_deployment(self.defs), settings)]

    def notes(self, settings: Settings) -> list[str]:
        """What `cdp check` says besides, each in one line with the folder's name before it."""
        found = notes(load_deployment(self.defs), settings)
        return [f"{note.file.parent.name}:{note.line}: {note.message}" for note in found]


def project(root: Path, name: str = "company", own_defs: bool = True) -> Project:
    """A project of one's own, as `create-dagster` lays it out; with the repository's defs/."""
    module = root / "src" / name
    module.mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT.format(name=name), "utf-8")
    (module / "__init__.py").touch()
    (module / "definitions.py").write_text(DEFINITIONS, "utf-8")
    if own_defs:
        shutil.copytree(
            ROOT / "cdp_assets" / "defs",
            module / "defs",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    else:
        (module / "defs").mkdir()
        (module / "defs" / "__init__.py").touch()
    return Project(root, module / "defs")


def describe(
    settings: Settings, source: str, names: tuple[str, ...] = (), **objects: list[FieldInfo]
) -> None:
    """Keep a description of a system, as its first pull does; with the names of all objects there
    are, as `cdp describe` does."""
    Description(
        source=source,
        system=source,
        taken_at=datetime(2026, 6, 1, tzinfo=UTC),
        objects={
            name: ObjectInfo(name=name, fields={field.name: field for field in fields})
            for name, fields in objects.items()
        },
        names=names,
    ).save(settings.descriptions)
