"""Outside systems of somebody's own: a component class of their library that says of which system
it is (see docs/connectors.md)."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from cdp_assets.connectors.systems import System, add_system


class Unimportable(Exception):
    """A library that is there and cannot be imported. The text says why, without what it said."""


def own_system(library: str, kind: str, file: Path) -> System | None:
    """The system of the component `library.kind`, made known to the connectors; None where there
    is no such class, or it is of another kind.

    library: a module that is installed, or lies above `file` in the user's own project.

    Raises Unimportable where the library is there and its import fails.
    """
    if not library or library.startswith("."):
        return None
    first = library.split(".")[0]
    for folder in file.parents:
        if (folder / first / "__init__.py").is_file() or (folder / f"{first}.py").is_file():
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
            break
    try:
        found = getattr(import_module(library), kind, None)
    except Exception as error:
        # A library that is not there is told by whoever asks, by its name.
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent is not None and f"{library}.".startswith(f"{absent}."):
            return None
        raise Unimportable(
            f"`{library}` cannot be imported ({type(error).__name__}): "
            f"python -c 'import {library}' shows where"
        ) from error
    outside = getattr(found, "outside", None)
    if not isinstance(outside, System):
        return None
    add_system(outside)
    return outside
