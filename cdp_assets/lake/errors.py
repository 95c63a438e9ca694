"""What can go wrong with a table. No message holds a value of a row, nor of a column's statistics:
messages reach Dagster's event log, which many people may read."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

T = TypeVar("T")
_BELOW = (
    DeltaError,
    TableNotFoundError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    ValueError,
    OverflowError,
)


class LakeError(Exception):
    """Base of all errors of the lake: what, in which table, retried or not, what to do."""


class DeclarationError(LakeError):
    """A `Table` is declared in a way that cannot be kept."""


class SchemaError(LakeError):
    """Rows do not have the declared columns and types. Not retried: the code that made them or the
    declaration has to change."""


class KeyViolation(LakeError):
    """A primary key is null or stands twice in one batch. Not retried."""


class ScopeError(LakeError):
    """`replace` was given rows that lie outside the scope they replace."""


class StaleWatermark(LakeError):
    """Rows were computed from older input than the table already holds. Run the step again."""


class FeedRewound(LakeError):
    """A table's feed ends before the point a reader says it has read: the table was restored from
    a backup or made anew. What was derived from it has to be rebuilt."""


class Conflict(LakeError):
    """Someone who does not hold the table's lock kept committing to it. Retried five times."""


class Damaged(LakeError):
    """A table's log or files cannot be read. Run `cdp fsck`."""


class DiskFull(LakeError):
    """The disk is full; nothing of this write is visible. Free space and run the step again."""


def guarded(what: str, key: str, action: Callable[[], T]) -> T:
    """The result of `action`; errors of the engines below come out as `LakeError` without their
    text, which quotes rows (`Cannot cast string 'x'`), and without their traceback chain."""
    try:
        return action()
    except LakeError:
        raise
    except _BELOW as error:
        failure = _translate(what, key, error)
    # Raised out here so that the error below is not its __context__, which event logs print too.
    raise failure


def _translate(what: str, key: str, error: BaseException) -> LakeError:
    kind = type(error).__name__
    text = str(error)
    if isinstance(error, CommitFailedError):
        return Conflict(
            f"Table {key}: {what} met a commit of someone who does not hold its lock ({kind}). "
            "Write to the lake through cdp_assets.lake only; run the step again."
        )
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "os error 28" in text or "No space left" in text:
        return DiskFull(
            f"Table {key}: {what} failed, the disk is full. Nothing of this write is visible. "
            "Free some space, then run the step again."
        )
    advice = (
        f"Table {key}: {what} failed in the storage engine ({kind}; its text is left out because "
        "it may quote rows). Not retried. "
    )
    if isinstance(error, DeltaError | TableNotFoundError | pl.exceptions.ComputeError | OSError):
        return Damaged(advice + "Run `cdp fsck` to see whether the table is damaged.")
    return LakeError(advice + "The rows or the declaration are of a kind not foreseen here.")
