"""What our component classes have in common: their model, their place in the deployment, and
errors that name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import BaseModel, model_validator

from cdp_assets.components.checks import check_declared
from cdp_assets.components.deployment import Declared, Deployment, declare, load_deployment
from cdp_assets.components.platform import Platform
from cdp_assets.components.yaml_source import ConfigurationError, fill_env
from cdp_assets.settings import Settings


@lru_cache(maxsize=64)
def attributes_model(config: type[BaseModel]) -> type[BaseModel]:
    """`config` with `{{ env.X }}` filled in before its own checks."""

    class Attributes(config):  # type: ignore[valid-type, misc]
        @model_validator(mode="before")
        @classmethod
        def _fill_env(cls, value: Any) -> Any:
            return fill_env(value, set())

    Attributes.__name__ = config.__name__
    Attributes.__doc__ = config.__doc__
    return Attributes


class ScaffoldParams(BaseModel):
    """Options of `dg scaffold defs`; each component adds its own."""


class CdpComponent(dg.Component):
    """A thing that a defs.yaml declares. The folder's name is its name."""

    config_model: ClassVar[type[BaseModel]]

    def __init__(self, config: BaseModel) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return attributes_model(cls.config_model)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        del context
        if attributes is None:
            attributes = cls.get_model_cls().model_validate({})
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        folder = context.defs_module_path
        deployment = load_deployment(folder)
        file = _defs_file(context.path)
        problems = [p for p in deployment.problems if p.file == file]
        declared = next((d for d in deployment.declared.values() if d.source.file == file), None)
        if declared is None and not problems:
            found = declare(file)
            if isinstance(found, Declared):
                declared = found
            else:
                problems = found
        if declared is not None:
            problems += check_declared(deployment, declared, Settings())
        if problems or declared is None:
            raise ConfigurationError(problems)
        return self.definitions(declared, deployment)

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        """The assets, checks, sensors and schedules of this declaration."""
        raise NotImplementedError


def _defs_file(path: Path) -> Path:
    return path if path.is_file() else path / "defs.yaml"


def platform(deployment: Deployment) -> Platform:
    """The rooms wired for this deployment, with the settings of the moment."""
    settings = Settings()
    return Platform(settings, load_deployment(deployment.folder))


def scaffold_attributes(request: dg.ScaffoldRequest[Any], attributes: Mapping[str, Any]) -> None:
    """Write the defs.yaml of a scaffolded component."""
    dg.scaffold_component(request, dict(attributes))
