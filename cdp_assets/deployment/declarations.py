"""One deployment read from its defs/: what each folder declares, in the rooms' own models.

Components of one deployment need each other's declarations (which fields do traits name, which
record types feed the graph), and the command line needs them without Dagster. Both read them here.
"""

from __future__ import annotations

import os
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cdp_assets.audiences.config import AudienceConfig
from cdp_assets.collector.config import EventSourceConfig
from cdp_assets.connectors.config import CrmConfig
from cdp_assets.connectors.systems import SYSTEMS
from cdp_assets.deployment.own_systems import Unimportable, own_system
from cdp_assets.deployment.wording import in_plain_words
from cdp_assets.deployment.yaml_source import (
    ConfigurationError,
    KeyPath,
    Problem,
    YamlSource,
    fill_env,
    read_yaml,
    shown,
    stray_templates,
    unset_variables,
)
from cdp_assets.events.config import EventFilesConfig, FilesConfig
from cdp_assets.events.features import FeaturesConfig
from cdp_assets.events.plan.config import TrackingPlanConfig
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.errors import nearest
from cdp_assets.sessions.config import SessionsConfig
from cdp_assets.settings import Settings
from cdp_assets.syncs.config import SyncConfig

OURS = "cdp_assets"
KINDS: Mapping[str, type[BaseModel]] = {
    **{name: system.config for name, system in SYSTEMS.items()},
    "EventFiles": EventFilesConfig,
    "EventSource": EventSourceConfig,
    "Files": FilesConfig,
    "TrackingPlan": TrackingPlanConfig,
    "Features": FeaturesConfig,
    "Identity": IdentityConfig,
    "Sessions": SessionsConfig,
    "Traits": TraitsConfig,
    "Audience": AudienceConfig,
    "Sync": SyncConfig,
}
"""Component class → the model of its `attributes`."""

DAGSTER_KEYS = ("type", "attributes", "template_vars_module", "requirements", "post_processing")
"""What Dagster lets stand at the top of a defs.yaml."""

M = TypeVar("M", bound=BaseModel)


UNNAMED = ("Features", "Identity", "Sessions", "Traits")
"""Kinds of which the folder's name stands in no table and no asset."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FILE, _LIKE_IT = "defs.yaml", re.compile(r"(?i)defs?\.ya?ml")


@dataclass(frozen=True)
class Declared:
    """One folder of defs/: its name, what it declares, and where.

    unset: environment variables that it names and that are not set → where the first stands.
    """

    name: str
    kind: str
    config: BaseModel
    source: YamlSource
    unset: Mapping[str, KeyPath] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, into: int = 0) -> Problem:
        """A mistake at `path` below this folder's `attributes`, `into` characters into it."""
        return self.source.problem(("attributes", *path), message, into=into)

    def require_set(self) -> None:
        """Raise ConfigurationError with each variable that is not set, at its own line."""
        if self.unset:
            raise ConfigurationError(
                [
                    self.problem(path, f"set the environment variable {name} to use `{self.name}`")
                    for name, path in self.unset.items()
                ]
            )


@dataclass(frozen=True)
class Foreign:
    """A folder of defs/ whose component is of another library: legitimate, and not checked."""

    source: YamlSource
    message: str


@dataclass(frozen=True, eq=False)
class Deployment:
    """Everything that defs/ declares.

    declared: name → declaration, in the order of the names. problems: mistakes that keep a folder
    from loading; its name is then absent from `declared`. foreign: components of other libraries.
    """

    folder: Path
    declared: Mapping[str, Declared] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    foreign: tuple[Foreign, ...] = ()

    def sync(self, name: str) -> SyncConfig:
        """The configuration of a sync. Raises ConfigurationError where there is none."""
        if name not in self.syncs:
            known, near = ", ".join(self.syncs) or "none", nearest(name, self.syncs)
            raise ConfigurationError.plain(f"no sync `{name}` in defs/{near}; there are: {known}")
        return self.syncs[name]

    def of(self, model: type[M]) -> dict[str, M]:
        """name → configuration of every declaration of this model."""
        return {
            name: item.config
            for name, item in self.declared.items()
            if isinstance(item.config, model)
        }

    @property
    def crms(self) -> dict[str, CrmConfig]:
        """Outside systems that are read from and written to."""
        return self.of(CrmConfig)

    @property
    def event_files(self) -> dict[str, EventFilesConfig | FilesConfig]:
        """Folders of event files, and row files that are read as events."""
        found: dict[str, EventFilesConfig | FilesConfig] = dict(self.of(EventFilesConfig))
        found |= {name: config for name, config in self.of(FilesConfig).items() if config.event}
        return dict(sorted(found.items()))

    @property
    def event_sources(self) -> dict[str, EventSourceConfig]:
        """Sources whose events come over HTTP."""
        return self.of(EventSourceConfig)

    @property
    def has_events(self) -> bool:
        """Whether any source of events is declared."""
        return bool(self.event_files or self.event_sources)

    @property
    def record_files(self) -> dict[str, FilesConfig]:
        """Row files that are read as records of an entity."""
        return {name: c for name, c in self.of(FilesConfig).items() if not c.event}

    @property
    def identity(self) -> IdentityConfig | None:
        """The one declaration of identity; None where the deployment has none."""
        return next(iter(self.of(IdentityConfig).values()), None)

    @property
    def sessions(self) -> SessionsConfig | None:
        """The one declaration of sessions; None where the deployment has none."""
        return next(iter(self.of(SessionsConfig).values()), None)

    @property
    def traits(self) -> dict[str, TraitsConfig]:
        """entity → its traits."""
        return {config.entity: config for config in self.of(TraitsConfig).values()}

    @property
    def audiences(self) -> dict[str, AudienceConfig]:
        """name → audience."""
        return self.of(AudienceConfig)

    @property
    def syncs(self) -> dict[str, SyncConfig]:
        """name → sync."""
        return self.of(SyncConfig)

    def traits_folder(self, entity: str) -> Path:
        """The folder in which the SQL files of an entity's traits lie."""
        for item in self.declared.values():
            if isinstance(item.config, TraitsConfig) and item.config.entity == entity:
                return item.source.file.parent
        return self.folder

    def require_valid(self) -> Deployment:
        """This deployment, or ConfigurationError with every mistake."""
        if self.problems:
            raise ConfigurationError(list(self.problems))
        return self


@dataclass(frozen=True)
class Project:
    """Where a deployment lies: its defs folder, and what Dagster loads.

    module: the code location's module. folder: from where it is imported. location: its name.
    """

    defs: Path
    module: str
    folder: Path
    location: str = "cdp"


def find_project(settings: Settings) -> Project:
    """The deployment to work on: the dg project around CDP_DEFS or the working directory, else
    the package's own."""
    package = Path(__file__).resolve().parent.parent
    here = settings.defs or Path.cwd()
    for folder in (here, *here.parents):
        config = _project_config(folder)
        root = config.get("root_module")
        for base in (folder, folder / "src") if root else ():
            module = str(config.get("defs_module") or f"{root}.defs")
            defs = settings.defs or base / Path(*module.split("."))
            if (base / str(root)).is_dir() and defs.is_dir():
                target = str(config.get("code_location_target_module") or f"{root}.definitions")
                location = str(config.get("code_location_name") or folder.name)
                return Project(defs, target, base, location)
    defs = settings.defs or package / "defs"
    return Project(defs, "cdp_assets.definitions", package.parent)


def find_defs(settings: Settings) -> Path:
    """The folder of the deployment's definitions (see `find_project`)."""
    return find_project(settings).defs


def _project_config(folder: Path) -> dict[str, Any]:
    for name, path in (("pyproject.toml", ("tool", "dg", "project")), ("dg.toml", ("project",))):
        file = folder / name
        if file.is_file():
            config: Any = tomllib.loads(file.read_text("utf-8"))
            for key in path:
                config = config.get(key, {}) if isinstance(config, dict) else {}
            if config:
                return dict(config)
    return {}


def load_deployment(folder: Path) -> Deployment:
    """Read every defs.yaml below `folder`. Read again only where one of them has changed.

    Raises ConfigurationError where there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigurationError.plain(f"there is no folder of definitions at {folder}")
    files = sorted(file for file in folder.glob("**/*.y*ml") if _LIKE_IT.fullmatch(file.name))
    stamps = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return _load(folder, stamps, _env_stamp())


def _env_stamp() -> int:
    return hash(tuple(sorted(os.environ.items())))


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[tuple[str, int, int], ...], env: int) -> Deployment:
    declared: dict[str, Declared] = {}
    foreign: list[Foreign] = []
    problems: list[Problem] = []
    for name, _, _ in stamps:
        file = Path(name)
        if file.name != _FILE:
            problems.append(Problem(file, 1, f"only {_FILE} is read: rename this file to it"))
            continue
        found = declare(file)
        if isinstance(found, Foreign):
            foreign.append(found)
        elif isinstance(found, Declared):
            if found.name in declared:
                other = shown(declared[found.name].source.file)
                problems.append(Problem(file, 1, f"`{found.name}` is declared in {other} too"))
            declared[found.name] = found
        else:
            problems += found
    problems += _doubled(declared)
    return Deployment(folder, dict(sorted(declared.items())), tuple(problems), tuple(foreign))


def declare(file: Path) -> Declared | Foreign | list[Problem]:
    """One defs.yaml as its model; where it cannot be, the mistakes."""
    source = read_yaml(file)
    if source.problems:
        return source.problems
    if not isinstance(source.value, dict):
        return [Problem(file, 1, "expected `type:` and `attributes:`")]
    if "type" not in source.value:
        return [Problem(file, 1, "it says no `type:`, such as `type: cdp_assets.Traits`")]
    library, _, kind = str(source.value["type"]).rpartition(".")
    own = None
    if library.split(".")[0] != OURS or not _importable(library, file):
        try:
            own = own_system(library, kind, file)
        except Unimportable as why:
            return [source.problem(("type",), str(why))]
        if own is None:
            return _foreign(source, library, kind)
    model = own.config if own is not None else KINDS.get(kind)
    if model is None:
        message = (
            f"no component `{kind}`{nearest(kind, KINDS) or '; there are ' + ', '.join(KINDS)}"
        )
        return [source.problem(("type",), message)]
    if extra := [key for key in source.value if key not in DAGSTER_KEYS]:
        return [
            source.problem(
                (key,), f"{key}: no such key beside `type`{nearest(key, DAGSTER_KEYS)}", key=True
            )
            for key in extra
        ]
    attributes = source.value.get("attributes") or {}
    problems = [
        source.problem(("attributes", *path), "only `{{ env.NAME }}` is filled in here")
        for path, _ in stray_templates(attributes)
    ]
    if problems:
        return problems
    name = file.parent.name
    if kind not in UNNAMED and not _NAME.fullmatch(name):
        return [Problem(file, 1, _misnamed(name))]
    try:
        config = model.model_validate(fill_env(attributes, set()))
    except ValidationError as error:
        return in_plain_words(source, kind, model, error)
    if isinstance(config, CrmConfig):
        config.called(name)
    unset = {variable: path for path, variable in reversed([*unset_variables(attributes)])}
    return Declared(name, kind, config, source, dict(reversed(unset.items())))


def _foreign(source: YamlSource, library: str, kind: str) -> Foreign | list[Problem]:
    """A component of another library, or of one that cannot be imported."""
    named = str(source.value["type"])
    if named.startswith("."):
        return Foreign(source, f"`{named}` is of another library and not checked here")
    near = nearest(named if library else f"{OURS}.{kind}", [f"{OURS}.{name}" for name in KINDS])
    if _importable(library, source.file):
        return Foreign(source, f"`{named}` is of another library and not checked here{near}")
    message = f"no library `{library}` can be imported" if library else f"`{named}`: of no library"
    return [source.problem(("type",), message + near)]


def _importable(library: str, file: Path) -> bool:
    """Whether there is such a module, installed or above the file in the user's own project."""
    first = library.split(".")[0]
    try:
        if find_spec(library if first == OURS else first) is not None:
            return True
    except (ImportError, ValueError):
        pass
    return first not in ("", OURS) and any(
        (folder / f"{first}.py").is_file() or (folder / first / "__init__.py").is_file()
        for folder in file.parents
    )


def _misnamed(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    better = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:63]
    such = f", such as `{better}`" if _NAME.fullmatch(better) else ""
    return (
        f"the folder's name `{name}` is the thing's name in tables and assets: name it in small "
        f"letters, digits and underscores, a letter first, at most 63{such}"
    )


def _doubled(declared: Mapping[str, Declared]) -> list[Problem]:
    problems: list[Problem] = []
    entities: dict[str, str] = {}
    once: dict[type[BaseModel], str] = {}
    for item in declared.values():
        if isinstance(item.config, TraitsConfig):
            entity = item.config.entity
            if entity in entities:
                message = f"traits of {entity} are declared in `{entities[entity]}` too"
                problems.append(item.problem(("entity",), message))
            entities[entity] = item.name
        for model, what in ((IdentityConfig, "identity is"), (SessionsConfig, "sessions are")):
            if not isinstance(item.config, model):
                continue
            if model in once:
                problems.append(item.problem((), f"{what} declared in `{once[model]}` too"))
            once.setdefault(model, item.name)
    return problems
