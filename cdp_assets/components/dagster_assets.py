"""What every asset of ours has in common: its spec, its column schema, and errors that are safe to
keep in Dagster's databases and logs."""

from __future__ import annotations

import functools
import hashlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import dagster as dg
import polars as pl
from pydantic import BaseModel

from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.errors import SAFE_ERRORS
from cdp_assets.lake import Table
from cdp_assets.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

AFTER_UPSTREAM = (
    dg.AutomationCondition.any_deps_updated() | dg.AutomationCondition.code_version_changed()
).with_label("after upstream, or a change of its rules")
"""Plain on purpose: `eager()` never fires below a partitioned asset with a missing partition, and
`.since(newly_requested)` loses an update that lands between a request and the next tick. Runs that
find nothing new are no-ops by our own watermarks. The code version is a hash of what defs/ says of
the step, so that a changed trait is built without waiting for news."""

WHEN_NAMED = (
    dg.AutomationCondition.code_version_changed() & dg.AutomationCondition.in_latest_time_window()
).with_label("a change of what configuration names")
"""Of `events`, which files start otherwise: one run, of today, decodes from stored payloads what is
named anew. Builds below it need not wait for that run (`Platform.keep_named`)."""

RETRY = dg.RetryPolicy(
    max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""Of assets that go over the network."""

ACCOUNTING = "accounting"
"""Check of every ingest: in = stored + duplicates + quarantined."""

SINGLE_FILE = "cdp_step"
"""Pool of the steps that automation starts: with a limit of 1, updates queue and none is lost."""


def after_upstream_and_midnight() -> dg.AutomationCondition[Any]:
    """AFTER_UPSTREAM, and once a day soon after midnight of CDP_TIMEZONE: windows move on and
    `now()` gives another answer where no file and no CRM brings news. What comes after it in the
    graph follows its run. A tick that is missed while the daemon is down is caught up."""
    tick = dg.AutomationCondition.cron_tick_passed("5 0 * * *", Settings().timezone)
    return (AFTER_UPSTREAM | tick).with_label("after upstream, a change of its rules, or midnight")


def safe_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Let no exception text reach Dagster that might quote a row.

    Our own errors pass with their text; of any other only the type and the place are told.
    """

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def guarded_steps(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _guard():
                yield from function(*args, **kwargs)

        return cast(Callable[P, R], _with_types(guarded_steps, function))

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with _guard():
            return function(*args, **kwargs)

    return _with_types(guarded, function)


def _with_types(wrapper: Callable[P, R], function: Callable[P, R]) -> Callable[P, R]:
    # Dagster reads annotations from the wrapper, in whose module they cannot be resolved as text.
    signature = inspect.signature(function, eval_str=True)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return wrapper


@contextmanager
def _guard() -> Iterator[None]:
    try:
        yield
    except dg.Failure:
        raise
    except SAFE_ERRORS as error:
        raise dg.Failure(description=str(error), allow_retries=_retryable(error)) from None
    except Exception as error:
        if Settings().debug:
            raise
        raise dg.Failure(description=_anonymous(error), allow_retries=False) from None
    except BaseException as error:
        # A panic inside polars or deltalake is no Exception, and its text may quote a row.
        if type(error).__name__ != "PanicException":
            raise
        raise dg.Failure(description=_anonymous(error), allow_retries=False) from None


def _retryable(error: Exception) -> bool:
    return bool(getattr(error, "retryable", False))


def _anonymous(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "cdp_assets" in Path(frame.filename).parts]
    place = ours[-1] if ours else frames[-1]
    name = Path(place.filename)
    return (
        f"{type(error).__name__} in {place.name} ({name.parent.name}/{name.name}:{place.lineno}). "
        "Its text is withheld here since it may quote a person's data; it is not retried. "
        "To read it in full, run the step with CDP_DEBUG=1 where you may see the data, and report "
        "it: an error that reaches this point is a defect."
    )


def column_schema(table: Table) -> dg.TableSchema:
    """The table's declared columns, as Dagster's UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=_type_name(dtype),
                description=table.column_docs.get(name),
                tags={"names_a_person": ""} if name in table.personal else {},
            )
            for name, dtype in table.schema.items()
        ]
    )


def _type_name(dtype: Any) -> str:
    if isinstance(dtype, pl.Datetime):
        return "timestamp (UTC)"
    return str(dtype).lower()


def asset_spec(
    key: str | Sequence[str],
    *,
    group: str,
    description: str,
    table: Table | None = None,
    deps: Iterable[str] = (),
    kinds: Iterable[str] = ("delta",),
    owners: Sequence[str] = (),
    personal: bool = True,
    automation: dg.AutomationCondition[Any] | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    column_deps: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    code_version: str = "1",
) -> dg.AssetSpec:
    """The spec of one asset.

    key: `raw/salesforce/contact`. deps: keys of the same form. column_deps: column → the
    (asset, column) pairs it comes from.
    """
    details: dict[str, Any] = dict(metadata or {})
    if table is not None:
        details["dagster/column_schema"] = column_schema(table)
        details["table"] = f"lake/{table.key}.delta"
    if column_deps:
        details["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                column: [
                    dg.TableColumnDep(asset_key=dg.AssetKey(asset.split("/")), column_name=name)
                    for asset, name in sources
                ]
                for column, sources in column_deps.items()
            }
        )
    path = key.split("/") if isinstance(key, str) else list(key)
    return dg.AssetSpec(
        key=dg.AssetKey(path),
        deps=[dg.AssetKey(dep.split("/")) for dep in sorted(set(deps))],
        group_name=group,
        description=description,
        kinds=set(kinds),
        owners=list(owners) or ["team:data"],
        tags={"domain": group, "personal_data": "yes" if personal else "no"},
        automation_condition=automation,
        partitions_def=partitions_def,
        metadata=details,
        code_version=code_version,
    )


def rules_version(*said: Any) -> str:
    """A code version that changes with what defs/ says of an asset."""
    text = "\n".join(
        item.model_dump_json() if isinstance(item, BaseModel) else str(item) for item in said
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def days_partitions(deployment: Deployment) -> dg.DailyPartitionsDefinition:
    """The deployment's days to today (UTC), today included: a day that is not over can be pulled.

    All sources share this one definition: single-run backfills over assets whose partitions start
    on different days are split by Dagster.
    """
    starts = [config.start for config in deployment.crms.values()]
    of_events = (*deployment.event_files.values(), *deployment.event_sources.values())
    starts += [config.start for config in of_events if config.start]
    first = min(starts, default=None)
    floor = Settings().start
    if floor is not None and (first is None or first < floor):
        first = floor
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat() if first else "2015-01-01", end_offset=1
    )


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags of a run over the partitions from `first` to `last`."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }


def accounting_spec(asset: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    """The check that an ingest accounts for all that it read."""
    return dg.AssetCheckSpec(ACCOUNTING, asset=asset, description=description)


def accounted(passed: bool, **values: Any) -> list[dg.AssetCheckResult]:
    """The result of that check, with its counts."""
    result = dg.AssetCheckResult(check_name=ACCOUNTING, passed=passed, metadata=counts(**values))
    return [result]


def counts(**values: Any) -> dict[str, Any]:
    """Metadata of a materialisation: numbers and short words only, never a row."""
    for name, value in values.items():
        if not isinstance(value, int | float | str | bool | None | dg.MetadataValue):
            raise TypeError(f"metadata `{name}` must be a count or a word, not {type(value)}")
    return {name: value for name, value in values.items() if value is not None}
