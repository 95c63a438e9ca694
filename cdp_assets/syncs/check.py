"""What can be wrong in a sync's configuration, told before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from cdp_assets.connectors.base import Description, FieldInfo, ObjectInfo
from cdp_assets.profiles.errors import nearest
from cdp_assets.profiles.kinds import Kind, a
from cdp_assets.syncs.config import FieldConfig, SyncConfig


class SyncError(Exception):
    """A sync that cannot be planned as it is configured. Nothing is retried."""


Problem = tuple[tuple[str | int, ...], str]
"""Path below the sync's attributes, and what is wrong there."""
_NUMBERS = frozenset({"integer", "decimal"})
_REFERRING = frozenset({"reference", "string", "enum", "integer", "other"})
_MOMENTS = frozenset({"date", "datetime"})


def check_fields(
    config: SyncConfig,
    description: Description | None,
    kinds: Mapping[str, Kind] | None = None,
    *,
    pulled: Collection[str] = (),
    paused: Collection[str] = (),
) -> list[Problem]:
    """Objects and fields that the described destination does not have, or cannot be written so:
    those of `to`, `create`, `fields`, `key` and `match`.

    kinds: of the columns, where they are known. pulled: objects that are declared, which an older
    description may lack without being wrong. paused: fields that are not looked at (see
    `paused_fields`). A destination never described raises no problem here; its first plan
    describes it.
    """
    if description is None or config.list_ is not None:
        return []
    problems: list[Problem] = []
    for target, name in zip(config.targets, config.objects, strict=True):
        info = description.objects.get(name)
        if info is None:
            if name not in pulled:
                hint = nearest(name, [*description.objects, *pulled])
                problems.append((("to",), f"{config.source} has no object `{name}`{hint}"))
            continue
        problems += _object(config.without(paused), target, info, kinds or {})
    return [*problems, *_lookups(config, description)]


def _lookups(config: SyncConfig, description: Description) -> Iterator[Problem]:
    """Where references are looked up, as far as it is described."""
    for name, field in config.fields.items():
        object_name, _, field_name = (field.lookup or "").partition(".")
        if not object_name:
            continue
        path, info = ("fields", name, "lookup"), description.objects.get(object_name)
        if info is None:
            known = [*description.objects, *description.names]
            if description.names and object_name not in known:
                hint = nearest(object_name, known)
                yield path, f"{config.source} has no object `{object_name}`{hint}"
        elif (found := info.fields.get(field_name)) is None:
            hint = nearest(field_name, info.fields)
            yield path, f"{config.source}.{object_name} has no field `{field_name}`{hint}"
        elif not found.filterable:
            yield path, f"{config.source}.{field.lookup} cannot be searched by"


def paused_fields(
    config: SyncConfig, description: Description | None, told: Collection[str]
) -> dict[str, str]:
    """Fields that the destination has no more, or lets nobody write any more, and why: nothing is
    told to them, while the rest goes on.

    told: fields that the sync knows records' values of, so they were there once. Any other is a
    slip of the pen.
    """
    found: dict[str, str] = {}
    for target, object_name in zip(config.targets, config.objects, strict=True):
        info = description.objects.get(object_name) if description else None
        for name in config.fields if info and not config.list_ else ():
            field = info.fields.get(name) if info else None
            if name not in told or (field is not None and _writable(config, name, field)):
                continue
            if field is None:
                hint = nearest(name, info.fields if info else ())
                what = f"{target} has no field {name} any more (renamed, removed, or hidden){hint}"
            else:
                what = f"{target}.{name} cannot be written any more"
            found.setdefault(name, f"paused: {what}; correct `fields`, or bring it back there")
    return found


def _writable(config: SyncConfig, name: str, field: FieldInfo) -> bool:
    if field.calculated:
        return False
    if config.mode == "insert" or config.fields[name].write == "on_create":
        return field.createable
    return field.updateable


def check_created(
    config: SyncConfig, pulled: Collection[str], identifying: Collection[str]
) -> list[Problem]:
    """A creation whose record nobody would recognise: pulled back, it would be a stranger, and the
    next run would create another.

    pulled: the system's objects that are pulled. identifying: fields (`salesforce.Contact.Email`)
    that hold identifiers of the entity.
    """
    if config.creates is None or config.creates not in pulled or config.rows == "entered":
        return []
    target = f"{config.source}.{config.creates}"
    if config.key_rule or config.match_rule:
        return []
    if any(f"{target}.{name}" in identifying for name in config.fields):
        return []
    path = ("mode",) if config.mode == "insert" else ("create",)
    why = "would be nobody's when it is pulled back, and be created again: give `key`, a `match` "
    return [(path, f"a record created in {target} {why}by a field, or a field that identity reads")]


def require(
    config: SyncConfig, description: Description | None, paused: Mapping[str, str]
) -> SyncConfig:
    """The sync without the fields that are paused. Raises SyncError with all that `check_fields`
    finds, or where no field is left."""
    if paused and len(paused) == len(config.fields):
        raise SyncError("; ".join(paused.values()))
    _raise(check_fields(config, description, paused=paused))
    return config.without(paused) if paused else config


def require_created(
    config: SyncConfig, pulled: Collection[str], identifying: Collection[str]
) -> None:
    """Raise SyncError with what `check_created` finds."""
    _raise(check_created(config, pulled, identifying))


def _raise(problems: Sequence[Problem]) -> None:
    if problems:
        raise SyncError("; ".join(f"{'.'.join(map(str, path))}: {text}" for path, text in problems))


def _object(
    config: SyncConfig, target: str, info: ObjectInfo, kinds: Mapping[str, Kind]
) -> Iterator[Problem]:
    creates = config.creates == target.partition(".")[2]
    updates = config.mode != "insert"
    if creates and not info.createable:
        yield ("create",), f"{target} cannot be created"
    for name, field in config.fields.items():
        path = ("fields", name)
        found = info.fields.get(name)
        if found is None:
            yield path, f"{target} has no field `{name}`{nearest(name, info.fields)}"
            continue
        if found.calculated:
            yield path, f"{target}.{name} is calculated there and cannot be written"
        elif field.write == "on_create":
            if creates and not found.createable:
                yield path, f"{target}.{name} cannot be set when a record is created"
        elif updates and not found.updateable:
            hint = "; write: on_create sets it on new records" if found.createable else ""
            yield path, f"{target}.{name} cannot be updated{hint}"
        elif creates and not found.createable:
            yield path, f"{target}.{name} cannot be set when a record is created"
        if field.write == "append" and found.type not in ("multi_enum", "other"):
            yield path, f"{target}.{name} holds one value, so nothing can be appended"
        if field.sought and found.type not in _REFERRING:
            yield path, f"{target}.{name} takes no id of a record"
        if (why := _type(field, found, kinds)) is not None:
            yield path, f"{target}.{name} {why}"
        if field.when_null == "clear" and not found.nullable:
            yield path, f"{target}.{name} cannot be emptied; when_null: keep leaves it alone"
    for name in config.key:
        yield from _findable(("key", name), target, info)
        yield from _settable(("key", name), target, info, creates=creates)
    for place, rule in enumerate(config.match):
        for name in rule if isinstance(rule, Mapping) else ():
            yield from _findable(("match", place, name), target, info)
            if name not in config.fields:
                yield from _settable(("match", place, name), target, info, creates=creates)


Rule = tuple[Literal["key"], str] | tuple[Literal["match"], int, str]


def _findable(path: Rule, target: str, info: ObjectInfo) -> Iterator[Problem]:
    rule, name = path[0], path[-1]
    found = info.fields.get(name)
    if found is None:
        yield path, f"{target} has no field `{name}`{nearest(name, info.fields)}"
    elif rule == "key" and not (found.external_id or found.unique):
        usable = sorted(n for n, f in info.fields.items() if f.external_id or f.unique)
        hint = f"; there are {', '.join(usable[:5])}" if usable else ""
        yield path, f"{target}.{name} is neither an external id nor unique{hint}"
    elif not found.filterable:
        yield path, f"{target}.{name} cannot be searched by"


def _settable(path: Rule, target: str, info: ObjectInfo, *, creates: bool) -> Iterator[Problem]:
    """A created record gets its key and its match too, to be found by the next time."""
    found = info.fields.get(path[-1])
    if creates and found is not None and not found.createable:
        yield path, f"{target}.{path[-1]} cannot be set when a record is created"


def _type(field: FieldConfig, found: FieldInfo, kinds: Mapping[str, Kind]) -> str | None:
    """Why the field cannot hold what it is told; None where it may."""
    if field.value is not None and found.options and found.type == "enum":
        if str(field.value) not in found.options:
            return f"has no option {field.value!r}{nearest(str(field.value), found.options)}"
        return None
    if isinstance(field.value, str) and found.length and len(field.value) > found.length:
        return f"takes {found.length} characters, the literal has {len(field.value)}"
    kind = kinds.get(field.trait) if field.trait and not field.sought else None
    if kind is None or kind in (Kind.STRING, Kind.UNTYPED):
        return None
    if found.type == "boolean" and kind is not Kind.BOOLEAN:
        return f"is a boolean, the trait {a(kind)}"
    if found.type in _NUMBERS and not (kind.numeric or kind is Kind.BOOLEAN):
        return f"is a number, the trait {a(kind)}"
    if found.type in _MOMENTS and kind not in (Kind.TIMESTAMP, Kind.DATE):
        return f"is {a(found.type)}, the trait {a(kind)}"
    return None
