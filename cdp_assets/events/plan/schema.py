"""The short form of a tracking plan as JSON Schema, and which part of a JSON Schema can be judged
by an object's shape alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp_assets.events.plan.config import EventRule, PropertyRule

Schema = Any
"""A JSON Schema: an object, or true or false."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FORMATS = {"date": "date", "datetime": "date-time"}
_ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated",
     "readOnly", "writeOnly", "pii", "feature", "owner", "id", "labels"}
)  # fmt: skip
_OF_SHAPE = frozenset(
    {"type", "required", "dependentRequired", "minProperties", "maxProperties", "$defs",
     "definitions", "$ref"}
)  # fmt: skip
_SCHEMAS = frozenset(
    {"additionalProperties", "items", "propertyNames", "not", "if", "then", "else"}
)
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf"})


def schema_of(rule: EventRule) -> Schema:
    """The JSON Schema of what an event of the short form says. An optional property may be null:
    most senders write that for "nothing to say". Members that are not named are allowed."""
    return {"$schema": DIALECT, **_object(rule.properties)}


def _object(properties: Mapping[str, PropertyRule]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: property_schema(rule) for name, rule in properties.items()},
    }
    if required := [name for name, rule in properties.items() if rule.required]:
        schema["required"] = required
    return schema


def property_schema(rule: PropertyRule) -> Schema:
    """The JSON Schema of one property."""
    schema: dict[str, Any] = {}
    if rule.type is not None:
        schema["type"] = "string" if rule.type in _FORMATS else rule.type
    if rule.type in _FORMATS:
        schema["format"] = _FORMATS[rule.type]
    for name, keyword in (
        ("pattern", "pattern"), ("minimum", "minimum"), ("maximum", "maximum"),
        ("min_length", "minLength"), ("max_length", "maxLength"), ("pii", "pii"),
        ("description", "description"),
    ):  # fmt: skip
        if (value := getattr(rule, name)) is not None:
            schema[keyword] = value
    if rule.enum is not None:
        schema["enum"] = list(rule.enum)
    if rule.items is not None:
        schema["items"] = property_schema(rule.items)
    if rule.properties is not None:
        schema |= {k: v for k, v in _object(rule.properties).items() if k != "type"}
    if not rule.required:
        if "type" in schema:
            schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def of_shape(schema: Schema) -> bool:
    """Whether a schema asks for nothing but which members there are and of which types: two
    objects of the same shape then both meet it, or neither."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, Mapping):
        return False
    for keyword, value in schema.items():
        if keyword in _MAPS:
            if not all(of_shape(part) for part in value.values()):
                return False
        elif keyword in _SCHEMAS:
            if not of_shape(value):
                return False
        elif keyword in _LISTS:
            if not all(of_shape(part) for part in value):
                return False
        elif keyword not in _OF_SHAPE and keyword not in _ANNOTATIONS:
            return False
    return True


def split(schema: Schema) -> tuple[Schema, dict[str, Schema]] | None:
    """(what is asked of the shape, property → what is asked of its value as well); None where the
    two cannot be told apart, so that each object has to be judged as a whole."""
    if of_shape(schema):
        return schema, {}
    if not isinstance(schema, Mapping):
        return None
    properties = dict(schema.get("properties") or {})
    watched = {name: part for name, part in properties.items() if not of_shape(part)}
    if any(_refers(part) for part in watched.values()):
        return None
    rest = {**schema, "properties": {n: True if n in watched else p for n, p in properties.items()}}
    return (rest, watched) if of_shape(rest) else None


def _refers(schema: Schema) -> bool:
    if isinstance(schema, Mapping):
        return any((k.startswith("$") and k != "$comment") or _refers(v) for k, v in schema.items())
    return isinstance(schema, list) and any(_refers(part) for part in schema)


def planned_names(schema: Schema) -> tuple[frozenset[str], tuple[str, ...]] | None:
    """The properties that a schema names, and the patterns of names; None where it says by other
    means what they are (`allOf`, `$ref` …), so that none can be called unplanned."""
    if not isinstance(schema, Mapping) or any(k in schema for k in ("$ref", *_LISTS, "if")):
        return None
    patterns = tuple(schema.get("patternProperties") or ())
    return frozenset(schema.get("properties") or ()), patterns
