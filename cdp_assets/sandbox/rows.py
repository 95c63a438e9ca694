"""What a test has a stand-in do to rows: refuse some, answer out of order, rewrite, page thinly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from cdp_assets.sandbox.clock import hubspot_time, salesforce_time
from cdp_assets.sandbox.tables import Tables

T = TypeVar("T")


@dataclass
class Rows:
    """One system's dealings with rows; by default none out of the ordinary.

    refused: every `every`-th of the rows written from now on is refused, so many of them, with
        `code`. backwards: results of a batch come last first, where nothing promises an order.
    rewritten: texts are kept in capitals, as an organisation's own automation rewrites them.
    page: records a page at most, whatever is asked for.
    """

    refused: int = 0
    every: int = 1
    code: str = ""
    backwards: bool = False
    rewritten: bool = False
    page: int | None = None
    met: int = 0

    def set(self, **asked: Any) -> None:
        """Do as asked, and nothing else."""
        for name, value in (Rows(**asked)).__dict__.items():
            setattr(self, name, value)

    def refusal(self) -> str | None:
        """The code that the row which now comes is refused with; None where it may pass."""
        if not self.refused:
            return None
        self.met += 1
        if self.met % self.every:
            return None
        self.refused -= 1
        return self.code

    def kept(self, value: Any) -> Any:
        """A text as the organisation keeps it."""
        return value.upper() if self.rewritten and isinstance(value, str) else value

    def ordered(self, results: Sequence[T]) -> list[T]:
        """The results of a batch in the order in which they are told."""
        return list(reversed(results)) if self.backwards else list(results)

    def most(self, size: int) -> int:
        """How many records a page holds of which `size` were asked for."""
        return size if self.page is None else min(size, self.page)


def tie(tables: Tables, name: str, at: datetime) -> int:
    """Give all records of a table one time of their last change; how many there are."""
    system = name.partition(".")[0]
    by_system: dict[str, dict[str, Any]] = {
        "salesforce": {n: salesforce_time(at) for n in ("SystemModstamp", "LastModifiedDate")},
        "hubspot": {"_updated": hubspot_time(at)},
        "zendesk": {"updated_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "_generated": int(at.timestamp())},
        "sugarcrm": {"date_modified": at.replace(microsecond=0).isoformat()},
    }  # fmt: skip
    rows = dict(tables[name].rows)
    for key, row in rows.items():
        tables.put(name, key, row | by_system[system])
    tables.commit()
    return len(rows)
