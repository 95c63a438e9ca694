"""The transformations of a deployment: the files that sources name, loaded, checked and tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.yaml_source import ConfigurationError, KeyPath
from cdp_assets.events.transform import Transform, TransformError, load_transform
from cdp_assets.events.transform_cases import differences, read_cases
from cdp_assets.profiles.errors import nearest

Said = Iterator[tuple[KeyPath, str]]
_AT: KeyPath = ("transform",)
_MOST = 5


def transform_named(item: Declared) -> str | None:
    """The file of the transformation that a source names."""
    found = getattr(item.config, "transform", None)
    return found if isinstance(found, str) else None


def transforms_of_sources(deployment: Deployment) -> dict[str, Transform]:
    """source → its transformation, of those that name one, as their files are now. Raises
    ConfigurationError: a line must not pass without the transformation that may hash its data."""
    found, problems = {}, []
    for name, item in deployment.declared.items():
        if (file := transform_named(item)) is not None:
            try:
                found[name] = load_transform(_inside(item.source.file.parent, file))
            except TransformError as error:
                problems.append(item.problem(_AT, _told(file, error)))
    if problems:
        raise ConfigurationError(problems)
    return found


def check_transform(declared: Declared) -> Said:
    """What is wrong with a source's transformation: it cannot be loaded, or a case of its
    fixtures comes out otherwise."""
    if (file := transform_named(declared)) is None:
        return
    folder = declared.source.file.parent
    try:
        transform = load_transform(_inside(folder, file))
    except TransformError as error:
        yield _AT, _told(file, error)
        return
    try:
        cases = read_cases(folder)
    except ValueError as error:
        yield _AT, str(error)
        return
    for case in cases:
        if said := differences(transform, case):
            more = f" (and {len(said) - _MOST} more)" if len(said) > _MOST else ""
            yield _AT, f"{case.where}: {'; '.join(said[:_MOST])}{more}"


def try_transform(declared: Declared) -> tuple[int, list[tuple[str, list[str]]]]:
    """How many cases a source's fixtures hold, and of those that come out otherwise: which, and
    what differs. Raises ConfigurationError."""
    file, folder = transform_named(declared) or "", declared.source.file.parent
    try:
        transform = load_transform(_inside(folder, file))
        cases = read_cases(folder)
    except TransformError as error:
        raise ConfigurationError([declared.problem(_AT, _told(file, error))]) from None
    except ValueError as error:
        raise ConfigurationError([declared.problem(_AT, str(error))]) from None
    tried = [(case.where, differences(transform, case)) for case in cases]
    return len(cases), [(where, said) for where, said in tried if said]


def _inside(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise TransformError(f"{name}: name a file inside the definition's own folder")
    if not file.is_file():
        others = sorted(f.name for f in folder.iterdir() if f.suffix in (".py", ".sql"))
        raise TransformError(f"there is no file {name} beside this one{nearest(name, others)}")
    return file


def _told(file: str, error: TransformError) -> str:
    return f"{file}:{error.line}: {error}" if error.line else str(error)
