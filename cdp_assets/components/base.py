"""What our component classes have in common: their model, their place in the deployment, and
errors that name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from cdp_assets.deployment.checks import check_deployment
from cdp_assets.deployment.declarations import Declared, Deployment, load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.deployment.yaml_source import ConfigurationError, Problem, fill_env
from cdp_assets.settings import Settings


@lru_cache(maxsize=64)
def attributes_model(config: type[BaseModel]) -> type[BaseModel]:
    """`config` as Dagster asks for it: for the schema in editors and `dg check yaml`.

    Its own mistakes are not raised here but, with those of the whole deployment, in build_defs:
    there all of them are told at once, each with file, line and the nearest right name.
    """

    class Attributes(config):  # type: ignore[valid-type, misc]
        @model_validator(mode="wrap")
        @classmethod
        def _filled(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
            try:
                return handler(fill_env(value, set()))
            except ValidationError:
                return cls.model_construct()

        @classmethod
        def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> JsonSchemaValue:
            schema = config.model_json_schema(schema_generator=ShortForms)
            found: JsonSchemaValue = _inlined(schema, schema.pop("$defs", {}))
            return found

    Attributes.__name__ = config.__name__
    Attributes.__doc__ = config.__doc__
    return Attributes


class ShortForms(GenerateJsonSchema):
    """JSON schema in which a validator that runs before the type's own opens short forms.

    It is there because more may be written than the type says (`block: free_mail` for a list of
    one, `Orders__c: orders` for a map of one). What exactly, `dg check defs` knows.
    """

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().function_before_schema(schema)
        inner = schema["schema"]
        if inner["type"] == "list" and "json_schema_input_schema" not in schema:
            return {"anyOf": [self.generate_inner(inner["items_schema"]), found]}
        return found

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().model_schema(schema)
        if schema["schema"]["type"] == "function-before" and _takes_text(schema["cls"]):
            return {"anyOf": [{"type": "string"}, found], "description": found.get("description")}
        return found


def _inlined(
    schema: Any, definitions: Mapping[str, Any], inside: frozenset[str] = frozenset()
) -> Any:
    """`schema` without references; a model inside of itself says no more than that it is one."""
    if isinstance(schema, list):
        return [_inlined(item, definitions, inside) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        more = {k: v for k, v in schema.items() if k != "$ref"}
        if name in inside:
            return {"type": "object", **more}
        return _inlined({**definitions[name], **more}, definitions, inside | {name})
    return {key: _inlined(item, definitions, inside) for key, item in schema.items()}


def _takes_text(model: type[BaseModel]) -> bool:
    try:
        model.model_validate("text")
    except ValidationError:
        return False
    return True


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
        deployment = valid_deployment(context.defs_module_path)
        file = _defs_file(context.path)
        for declared in deployment.declared.values():
            if declared.source.file == file:
                return self.definitions(declared, deployment)
        raise ConfigurationError.plain(f"{file} declares nothing of this library")

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        """The assets, checks, sensors and schedules of this declaration."""
        raise NotImplementedError


def valid_deployment(folder: Path) -> Deployment:
    """The deployment of `folder`. Raises ConfigurationError with every mistake in it."""
    deployment = load_deployment(folder)
    if problems := _mistakes(deployment, Settings().descriptions):
        raise ConfigurationError(problems)
    return deployment


@lru_cache(maxsize=4)
def _mistakes(deployment: Deployment, descriptions: Path) -> tuple[Problem, ...]:
    del descriptions
    return tuple(check_deployment(deployment, Settings()))


def _defs_file(path: Path) -> Path:
    return path if path.is_file() else path / "defs.yaml"


def platform(deployment: Deployment) -> Platform:
    """The rooms wired for this deployment, with the settings of the moment."""
    settings = Settings()
    return Platform(settings, load_deployment(deployment.folder))


def scaffold_attributes(request: dg.ScaffoldRequest[Any], attributes: Mapping[str, Any]) -> None:
    """Write the defs.yaml of a scaffolded component."""
    dg.scaffold_component(request, dict(attributes))
