"""How a pull stands: what changed in the description of an object since the last one."""

from __future__ import annotations

from cdp_assets.connectors.base import ObjectInfo


def schema_changes(before: ObjectInfo | None, after: ObjectInfo | None) -> tuple[str, ...]:
    """What changed between two descriptions of an object, a line a field, in the order of names;
    nothing where one of them is not known."""
    if before is None or after is None:
        return ()
    found = []
    for name in sorted(before.fields.keys() | after.fields.keys()):
        old, new = before.fields.get(name), after.fields.get(name)
        if new is None:
            found.append(f"{name}: gone, or no longer shown to this user")
        elif old is None:
            found.append(f"{name}: new ({new.type})")
        elif old.type != new.type:
            found.append(f"{name}: {old.type} became {new.type}")
        elif old.length and new.length and new.length < old.length:
            found.append(f"{name}: length {old.length} became {new.length}")
    return tuple(found)


def lost(changes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the changes that can break what reads or writes the field."""
    return tuple(change for change in changes if ": new (" not in change)
