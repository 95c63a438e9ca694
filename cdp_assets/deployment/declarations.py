"""One deployment read from its defs/: what each folder declares, in the rooms' own models.

Components of one deployment need each other's declarations (which fields do traits name, which
record types feed the graph), and the command line needs them without Dagster. Both read them here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from cdp_assets.audiences.config import AudienceConfig
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.deployment.yaml_source import (
    A_DAY,
    ConfigurationError,
    KeyPath,
    Problem,
    YamlSource,
    fill_env,
    read_yaml,
    stray_templates,
)
from cdp_assets.events.config import EventFilesConfig, FilesConfig
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.errors import nearest
from cdp_assets.settings import Settings
from cdp_assets.syncs.config import SyncConfig

KINDS: Mapping[str, type[BaseModel]] = {
    "Salesforce": SalesforceConfig,
    "HubSpot": HubSpotConfig,
    "EventFiles": EventFilesConfig,
    "Files": FilesConfig,
    "Identity": IdentityConfig,
    "Traits": TraitsConfig,
    "Audience": AudienceConfig,
    "Sync": SyncConfig,
}
"""Component class → the model of its `attributes`."""

DAGSTER_KEYS = ("type", "attributes", "template_vars_module", "requirements", "post_processing")
"""What Dagster lets stand at the top of a defs.yaml."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Declared:
    """One folder of defs/: its name, what it declares, and where."""

    name: str
    kind: str
    config: BaseModel
    source: YamlSource
    unset: frozenset[str] = frozenset()

    def problem(self, path: KeyPath, message: str, into: int = 0) -> Problem:
        """A mistake at `path` below this folder's `attributes`, `into` characters into it."""
        return self.source.problem(("attributes", *path), message, into=into)


@dataclass(frozen=True, eq=False)
class Deployment:
    """Everything that defs/ declares.

    declared: name → declaration, in the order of the names. problems: mistakes that keep a folder
    from loading; its name is then absent from `declared`.
    """

    folder: Path
    declared: Mapping[str, Declared] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def of(self, model: type[M]) -> dict[str, M]:
        """name → configuration of every declaration of this model."""
        return {
            name: item.config
            for name, item in self.declared.items()
            if isinstance(item.config, model)
        }

    @property
    def crms(self) -> dict[str, SalesforceConfig | HubSpotConfig]:
        """Outside systems that are read from and written to."""
        return {**self.of(SalesforceConfig), **self.of(HubSpotConfig)}

    @property
    def event_files(self) -> dict[str, EventFilesConfig | FilesConfig]:
        """Folders of event files, and row files that are read as events."""
        found: dict[str, EventFilesConfig | FilesConfig] = dict(self.of(EventFilesConfig))
        found |= {name: config for name, config in self.of(FilesConfig).items() if config.event}
        return dict(sorted(found.items()))

    @property
    def record_files(self) -> dict[str, FilesConfig]:
        """Row files that are read as records of an entity."""
        return {name: c for name, c in self.of(FilesConfig).items() if not c.event}

    @property
    def identity(self) -> IdentityConfig | None:
        """The one declaration of identity; None where the deployment has none."""
        return next(iter(self.of(IdentityConfig).values()), None)

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
    files = tuple(sorted(folder.glob("**/defs.yaml")))
    stamps = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return _load(folder, stamps, _env_stamp())


def _env_stamp() -> int:
    return hash(tuple(sorted(os.environ.items())))


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[tuple[str, int, int], ...], env: int) -> Deployment:
    declared: dict[str, Declared] = {}
    problems: list[Problem] = []
    for file, _, _ in stamps:
        found = declare(Path(file))
        problems += found.source.problems if isinstance(found, Declared) else found
        if isinstance(found, Declared):
            if found.name in declared:
                other = declared[found.name].source.file
                problems.append(
                    Problem(Path(file), 1, f"`{found.name}` is declared in {other} too")
                )
            declared[found.name] = found
    problems += _doubled(declared)
    return Deployment(folder, dict(sorted(declared.items())), tuple(problems))


def declare(file: Path) -> Declared | list[Problem]:
    """One defs.yaml as its model; where it cannot be, the mistakes. A file of another component
    library is passed over (no mistakes, nothing declared)."""
    source = read_yaml(file)
    if source.problems:
        return source.problems
    if not isinstance(source.value, dict):
        return [Problem(file, 1, "expected `type:` and `attributes:`")]
    if "type" not in source.value:
        return [Problem(file, 1, "it says no `type:`, such as `type: cdp_assets.Traits`")]
    library, _, kind = str(source.value["type"]).rpartition(".")
    if library.split(".")[0] != "cdp_assets":
        return []
    if kind not in KINDS:
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
    missing: set[str] = set()
    try:
        config = KINDS[kind].model_validate(fill_env(attributes, missing))
    except ValidationError as error:
        return [_pydantic_problem(source, kind, item) for item in error.errors()]
    return Declared(file.parent.name, kind, config, source, frozenset(missing))


def _pydantic_problem(source: YamlSource, kind: str, error: Any) -> Problem:
    path = source.nearest(("attributes", *error["loc"]))
    name = ".".join(str(part) for part in path[1:]) or kind
    text = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = nearest(str(path[-1]), _options(KINDS[kind], error["loc"][:-1]))
        return source.problem(path, f"{name}: no such option{near}", key=True)
    if error["type"] == "missing":
        text = f"`{error['loc'][-1]}` is missing"
    if error["type"].startswith("date_"):
        text = A_DAY
    if error["type"] == "union_tag_not_found":
        text = "expected a map such as {prefer: […]}, {select: …, from: …} or {expr: …}"
    return source.problem(path, f"{name}: {text}")


def _options(model: type[BaseModel], loc: tuple[Any, ...]) -> set[str]:
    """What may be written in the model that `loc` leads to. Names of a map lead nowhere, and the
    tag of a union leads to its member."""
    found = [model]
    for part in loc:
        below = [
            inner
            for one in found
            for name, info in one.model_fields.items()
            if part in (name, info.alias)
            for inner in _models_in(info.annotation)
        ]
        found = below or [one for one in found if part in one.model_fields] or found
    return {info.alias or name for one in found for name, info in one.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _doubled(declared: Mapping[str, Declared]) -> list[Problem]:
    problems: list[Problem] = []
    entities: dict[str, str] = {}
    identities: list[Declared] = []
    for item in declared.values():
        if isinstance(item.config, TraitsConfig):
            entity = item.config.entity
            if entity in entities:
                message = f"traits of {entity} are declared in `{entities[entity]}` too"
                problems.append(item.problem(("entity",), message))
            entities[entity] = item.name
        if isinstance(item.config, IdentityConfig):
            identities.append(item)
    problems += [
        item.problem((), f"identity is declared in `{identities[0].name}` too")
        for item in identities[1:]
    ]
    return problems
