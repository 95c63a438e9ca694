"""What the connectors of CRMs share: their parts put together, batches, and forms of values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from cdp_assets.connectors.base import (
    ConnectorError,
    Description,
    NotAuthorised,
    NotPermitted,
    ObjectInfo,
    ObjectMapping,
    Refused,
    RowChange,
    RowOutcome,
    Unavailable,
)
from cdp_assets.connectors.config import CrmConfig, ObjectConfig
from cdp_assets.connectors.http import HttpOptions, HttpSession


class Typed(Protocol):
    """A field as its system describes it."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str: ...


F = TypeVar("F", bound=Typed)
T = TypeVar("T")
_FORMS = 16_384
_KEPT = (str, int, float, Decimal)
_FURTHEST = 300
"""Places before or behind the point of a number; a double holds 308."""


class Client(Protocol):
    """Requests to one account."""

    @property
    def calls(self) -> int: ...

    @property
    def http(self) -> HttpSession: ...

    def describe(self, names: Sequence[str], /) -> dict[str, ObjectInfo]: ...


class Push(Protocol):
    """Records read and written (see `Destination`)."""

    batch_size: int

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]: ...

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]: ...

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]: ...

    def normalise(self, name: str, field_name: str, value: Any) -> Any: ...


class Crm:
    """One account of a CRM (see `Source` and `Destination` for what each method promises). A
    system makes the client and the push, and adds `pull` and `has_news`."""

    system: ClassVar[str]

    def __init__(
        self,
        name: str,
        config: CrmConfig,
        *,
        client: Client,
        push: Push,
        map_object: Callable[[ObjectConfig], ObjectMapping | None],
        api_version: str,
        options: HttpOptions,
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        self.name = name
        self._requests = client
        self._records = push
        # A plan asks for one value's form several times: as wanted, as shown, as told.
        self._forms = lru_cache(maxsize=_FORMS, typed=True)(push.normalise)
        self._objects = config.object_configs
        self._map_object = map_object
        self._api_version = api_version
        self._now = options.now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._requests.calls

    @property
    def behind(self) -> float:
        """Seconds by which the system's clock is behind ours, as its last answer told."""
        return self._requests.http.behind if self._requests.calls else 0.0

    def mapping(self, object_name: str) -> ObjectMapping | None:
        return self._map_object(self._objects.get(object_name) or ObjectConfig(name=object_name))

    def describe(self, objects: Sequence[str]) -> Description:
        self._forms.cache_clear()
        return Description(
            source=self.name,
            system=self.system,
            taken_at=self._now(),
            api_version=self._api_version,
            objects=self._requests.describe(objects),
        )

    def names(self) -> tuple[str, ...]:
        """The names of all objects there are; empty where the system has no list of them."""
        return ()

    def batch_size(self, object_name: str) -> int:
        return self._records.batch_size

    def read(
        self, object_name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        return self._records.read(object_name, ids, fields)

    def find(
        self, object_name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        return self._records.find(object_name, field_name, values, fields)

    def write(self, object_name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        return self._records.write(object_name, batch)

    def normalise(self, object_name: str, field_name: str, value: Any) -> Any:
        if isinstance(value, _KEPT):
            return self._forms(object_name, field_name, value)
        return self._records.normalise(object_name, field_name, value)


def alike(batch: Sequence[RowChange]) -> list[list[RowChange]]:
    """Rows by what one call can carry: one op, one external id field."""
    groups: dict[tuple[str, str | None], list[RowChange]] = {}
    for change in batch:
        key = (change.op, change.key_field if change.op == "upsert" else None)
        groups.setdefault(key, []).append(change)
    return list(groups.values())


def _named(change: RowChange) -> str:
    return (change.key_value or change.record_id or "").casefold()


def distinct(
    batch: Sequence[RowChange], named: Callable[[RowChange], str] = _named
) -> tuple[list[list[RowChange]], dict[int, RowOutcome]]:
    """The batch as groups for one call each (see `alike`), and an error for every row that names a
    record which a row before it names. named: how it does, "" for not; by default keys are one
    whatever their case."""
    doubled: dict[int, RowOutcome] = {}
    groups = []
    for group in alike(batch):
        seen: set[str] = set()
        kept = []
        for change in group:
            key = named(change)
            if key and key in seen:
                doubled[change.row] = RowOutcome(
                    change.row, False, error_class="data", code="DUPLICATE_KEY_IN_BATCH",
                    message="another row of this batch names the same record",
                )  # fmt: skip
                continue
            seen.add(key)
            kept.append(change)
        groups.append(kept)
    return groups, doubled


_NOT_TAKEN = (Refused, NotPermitted, NotAuthorised, Unavailable)
"""Errors after which a call had no effect, or one that may be repeated."""


def halved(
    group: Sequence[RowChange],
    call: Callable[[Sequence[RowChange]], dict[int, RowOutcome]],
    refused: Callable[[RowChange, Refused], RowOutcome],
    statuses: Collection[int],
) -> dict[int, RowOutcome]:
    """What became of a group that goes as one call; where one row's mistake has it refused whole,
    it is halved until that row stands alone and the others are written.

    call: sends rows. refused: a row that was refused as a call of its own → its outcome. statuses:
    those by which one row's mistake refuses all.

    Raises what `call` raises of the whole group. Once a part was sent by itself nothing is raised,
    or what is known of it would be lost: a part that got no answer has no outcome, and what was
    not sent is told as `NOT_SENT`.
    """
    outcomes: dict[int, RowOutcome] = {}
    parts = [list(group)]
    while parts:
        part = parts.pop(0)
        try:
            outcomes |= call(part)
        except ConnectorError as error:
            if isinstance(error, Refused) and error.status in statuses:
                if len(part) == 1:
                    outcomes[part[0].row] = refused(part[0], error)
                    continue
                half = len(part) // 2
                parts[:0] = [part[:half], part[half:]]
                continue
            if len(part) == len(group):
                raise
            left = [part, *parts] if isinstance(error, _NOT_TAKEN) else parts
            outcomes |= {change.row: unsent(change) for rest in left for change in rest}
            break
    return outcomes


def unsent(change: RowChange) -> RowOutcome:
    """A row that was not sent, since a call before it got no answer or was turned away."""
    return RowOutcome(
        change.row, False, change.record_id, error_class="retry", code="NOT_SENT",
        message="a call before it got no answer or was turned away; it is planned again",
    )  # fmt: skip


def in_form(field: F, value: Any, convert: Callable[[F, Any], T]) -> T | None:
    """`value` as `convert` has it for the field; None where there is nothing: null, NaN, a blank.

    Raises ValueError, without the value, where it cannot be of the field's type."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str):
        value = value.strip()
        if value == "":
            return None
    try:
        return convert(field, value)
    except (KeyError, ValueError, InvalidOperation, OverflowError):
        raise ValueError(f"{field.name} takes a {field.type}, which the value is not") from None


def asked_for(
    field: F, values: Sequence[str], normalised: Callable[[F, Any], Any]
) -> tuple[dict[str, list[str]], list[str]]:
    """What to ask a system for: the text of each value's form, its case folded → the values that
    have it; and one text to ask for each.

    A value of another type than the field's is left out: it would have the whole question refused.
    """
    asked: dict[str, list[str]] = {}
    literals: dict[str, str] = {}
    for value in values:
        with suppress(ValueError):
            if (form := normalised(field, value)) is not None:
                asked.setdefault(str(form).casefold(), []).append(value)
                literals.setdefault(str(form).casefold(), str(form))
    return asked, list(literals.values())


def as_number(value: Any) -> Decimal:
    """A value as a number; a truth is 1 or 0.

    Raises ValueError or decimal.InvalidOperation where it is none, or beyond what a double holds:
    written out in digits, `1e999999999` would fill the memory.
    """
    number = Decimal(str(int(value) if isinstance(value, bool) else value))
    if not number.is_finite() or abs(number.adjusted()) > _FURTHEST:
        raise ValueError
    return number


def as_day(value: Any) -> date:
    """A value's calendar day: a moment's is its day in UTC; a zone of ours must not shift it.

    Raises ValueError where it is neither a day nor a moment."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at.astimezone(UTC).date() if at.tzinfo else at.date()


def as_milliseconds(value: Any) -> str:
    """A value as a moment in UTC, `2026-01-31T09:00:00.000`, to which each system adds its own
    sign of UTC. A moment without a zone is UTC; a day begins at midnight."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}"
