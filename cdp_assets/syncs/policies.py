"""What is done about one field of one record: by its write policy, and by what it shows now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cdp_assets.connectors.base import Destination
from cdp_assets.connectors.text import text
from cdp_assets.syncs import mapping
from cdp_assets.syncs.config import FieldConfig

CHANGED = "changed there since told"
GIVES_WAY = f"{CHANGED}, and it gives way"
_SEPARATOR = ";"


@dataclass(frozen=True)
class Verdict:
    """act: write it; equal: the record holds it; leave: the record keeps another value, asked of
    nobody; give_way: another value that people wrote since. changed: people changed it since it
    was told. present: text of what the record shows."""

    act: Literal["write", "equal", "leave", "give_way"]
    form: Any
    said: str | None
    present: str | None
    changed: bool = False


def judge(
    destination: Destination,
    object_name: str,
    name: str,
    field: FieldConfig,
    wish: tuple[Any, str | None],
    before: str | None,
    shown: Any,
) -> Verdict:
    """What to do about a field.

    wish: the value to send and its text. before: what the record was last told, null where that
    is nothing. shown: the record's value as the destination gives it.
    """
    form, said = wish
    present = mapping.present(destination, object_name, name, shown)
    if field.write == "append":
        have = parts(destination.normalise(object_name, name, shown))
        news = [part for part in parts(form) if part not in have]
        if not news:
            return Verdict("equal", form, said, present)
        form = destination.normalise(object_name, name, joined(form, [*have, *news]))
        return Verdict("write", form, text(form), present)
    if said == present:
        return Verdict("equal", form, said, present)
    if field.write == "if_empty" and present is not None:
        return Verdict("leave", form, said, present)
    # Of a record that was looked up the text is kept, not the id that was told.
    changed = (
        bool(before)
        and not field.sought
        and not ours(destination, object_name, name, before, present)
    )
    if field.write == "give_way" and changed and present is not None:
        return Verdict("give_way", form, said, present, changed)
    return Verdict("write", form, said, present, changed)


def ours(
    destination: Destination, object_name: str, name: str, told: str | None, present: str | None
) -> bool:
    """Whether a record shows what it was told, also where that is kept in our spelling."""
    return present == told or present == mapping.present(destination, object_name, name, told)


def parts(value: Any) -> list[str]:
    """The members of a multi-select's value: a list, or one text with semicolons."""
    if value is None:
        return []
    found = value if isinstance(value, list | tuple | set) else str(value).split(_SEPARATOR)
    return [part for part in (str(item).strip() for item in found) if part]


def joined(like: Any, members: list[str]) -> Any:
    """A multi-select's value of these members, in the form of `like`."""
    return members if isinstance(like, list | tuple | set) else _SEPARATOR.join(members)
