"""What can be wrong in a trait, an audience or a filter: always the text, the place, the cure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ExpressionError(ValueError):
    """An expression that cannot be accepted. `line` and `column` (from 1) point into its text.

    Nothing is retried: the text in defs.yaml has to change.
    """

    def __init__(self, message: str, text: str, line: int = 1, column: int = 1) -> None:
        self.reason = message
        self.text = text
        self.line = line
        self.column = column
        lines = text.splitlines() or [""]
        shown = lines[min(line, len(lines)) - 1]
        super().__init__(
            f"{message} (line {line}, column {column})\n  {shown}\n  {' ' * (column - 1)}^"
        )


class TraitError(ValueError):
    """A trait whose definition cannot be built; names entity and trait. Nothing is retried."""


class InputError(TraitError):
    """An input that is not in a state to be built from. A later try may find it in one."""

    retryable = True


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the known name most like `name`, else an empty text."""
    candidates = sorted(set(known))
    folded = {candidate.casefold(): candidate for candidate in candidates}
    if name.casefold() in folded:
        return f"; did you mean {folded[name.casefold()]}?"
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]}?" if close else ""
