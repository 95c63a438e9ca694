"""Traits from SQL files: one SELECT over registered tables, by polars' own SQL, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cdp_assets.lake import Lake
from cdp_assets.profiles.catalogue import saved_columns
from cdp_assets.profiles.changes import as_built
from cdp_assets.profiles.errors import TraitError, nearest
from cdp_assets.profiles.inputs import Inputs
from cdp_assets.profiles.kinds import Kind, kind_of
from cdp_assets.profiles.model import Model, SqlFile

_READERS = ("read_", "scan_")


def check_sql(text: str, file: str, tables: frozenset[str] | None = None) -> None:
    """Raise TraitError unless `text` is one SELECT that reads only `tables` (None: any name) and
    calls no function that opens files."""
    try:
        trees = sqlglot.parse(text, dialect="postgres")
    except SqlglotError as error:
        raise TraitError(f"{file}: not SQL: {str(error).splitlines()[0]}") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise TraitError(f"{file}: a trait's file holds exactly one SELECT")
    tree = trees[0]
    own = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise TraitError(f"{file}: reads {table.sql()[:60]}; only tables may stand after FROM")
        name = ".".join(part.name for part in table.parts)
        if tables is not None and name not in tables and name not in own:
            raise TraitError(f"{file}: no table {name}{nearest(name, tables)}")
    for call in tree.find_all(exp.Func):
        name = call.name if isinstance(call, exp.Anonymous) else call.sql_name()
        if name.lower().startswith(_READERS):
            raise TraitError(f"{file}: {name.lower()} opens files and is not allowed")


def tables_named(text: str) -> set[str]:
    """Names that stand after FROM in a SQL file; none where it is no SQL, which its build says."""
    try:
        trees = sqlglot.parse(text, dialect="postgres")
    except SqlglotError:
        return set()
    return {table.name for tree in trees if tree for table in tree.find_all(exp.Table)}


def table_name(key: str) -> str:
    """How a table of the lake is called in SQL files: an entity's profiles by its name, any other
    by its key: `events/order_completed` → `events_order_completed`."""
    return key.removeprefix("profiles/").replace("/", "_")


class SqlTables(Mapping[str, pl.LazyFrame]):
    """The tables that the SQL files of `entity` may read besides its own profiles, by their names
    there; each is opened when asked for.

    rows: False for their columns alone.
    """

    def __init__(self, inputs: Inputs, entity: str, *, rows: bool = True) -> None:
        self._inputs, self._rows = inputs, rows
        self._keys = {table_name(key): key for key in _readable(inputs.lake, entity)}

    def __getitem__(self, name: str) -> pl.LazyFrame:
        key = self._keys[name]
        frame = self._inputs.whole(key)
        room, _, entity = key.partition("/")
        if room == "profiles":
            kinds = saved_columns(self._inputs.lake, entity)
            frame = as_built(frame, kinds, kinds)
        return frame if self._rows else frame.filter(False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def read_by(self, model: Model, folder: Path | None) -> list[str]:
        """Keys of the tables that the SQL files of `model` name."""
        named: set[str] = set()
        for _, step in model.steps:
            if isinstance(step, SqlFile) and folder is not None and (folder / step.file).is_file():
                named |= tables_named((folder / step.file).read_text())
        return sorted(self._keys[name] for name in named & self._keys.keys())


def run_sql(
    step: SqlFile,
    folder: Path | None,
    own: Mapping[str, pl.LazyFrame],
    tables: Mapping[str, pl.LazyFrame],
) -> pl.DataFrame:
    """profile_id and the trait as the file computes it from its `own` entity and `tables`.

    Raises TraitError where the file is missing, does not parse, reads another table, or returns
    other columns, or a profile twice.
    """
    if folder is None or not (folder / step.file).is_file():
        raise TraitError(f"trait {step.name}: no file {step.file} in the definition's folder")
    text = (folder / step.file).read_text()
    check_sql(text, step.file, frozenset({*own, *tables}))
    named = {name: tables[name] for name in tables_named(text) & tables.keys()}
    context = pl.SQLContext(frames=named | dict(own))
    try:
        found = context.execute(text, eager=False).collect()
    except pl.exceptions.PolarsError as error:
        # polars quotes values of rows in some errors; its first line names columns only.
        kind = type(error).__name__
        raise TraitError(f"{step.file}: the query fails ({kind}); run it by hand to see") from None
    if not {"profile_id", step.name} <= set(found.columns):
        raise TraitError(
            f"{step.file}: returns {', '.join(found.columns)}; wanted are profile_id and "
            f"{step.name}"
        )
    if found["profile_id"].dtype != pl.Int64:
        raise TraitError(f"{step.file}: profile_id is no whole number")
    found = found.select("profile_id", step.name).filter(pl.col("profile_id").is_not_null())
    if found["profile_id"].is_duplicated().any():
        raise TraitError(f"{step.file}: returns a profile more than once")
    kind = step.kind or kind_of(found[step.name].dtype)
    return found.with_columns(_as(found[step.name].dtype, kind, step))


def _as(dtype: pl.DataType, kind: Kind, step: SqlFile) -> pl.Expr:
    if dtype == kind.polars:
        return pl.col(step.name)
    actual = kind_of(dtype)
    widens = actual.numeric and kind.numeric and kind is not Kind.INTEGER
    if actual is not kind and not widens:
        raise TraitError(
            f"trait {step.name}: {step.file} returns a {actual.value}, declared is {kind.value}"
        )
    if kind is Kind.TIMESTAMP:
        naive = not isinstance(dtype, pl.Datetime) or dtype.time_zone is None
        moment = pl.col(step.name).cast(pl.Datetime("us", None if naive else "UTC"))
        return moment.dt.replace_time_zone("UTC") if naive else moment
    return pl.col(step.name).cast(kind.polars)


def _readable(lake: Lake, entity: str) -> list[str]:
    """Tables that SQL files of `entity` may read: events, their typed tables, sessions, records,
    and the profiles of the other entities. Neither its own nor the history of builds, or a rebuild
    would give something else."""
    rooms = ("events", "profiles", "records", "sessions")
    hidden = {
        "events/catalogue", "events/observations", "profiles/builds", "profiles/changes",
        "profiles/traits", "records/rules", "records/told", "sessions/builds", f"profiles/{entity}",
    }  # fmt: skip
    keys = lake.keys()
    return [key for key in keys if key.split("/")[0] in rooms and key not in hidden]


def sql_kinds(lake: Lake, model: Model, folder: Path | None) -> dict[str, Kind]:
    """SQL trait → the kind of the column that its file returns, without running it."""
    tables = SqlTables(Inputs(lake), model.entity, rows=False)
    known = {"profile_id": Kind.INTEGER}
    late = {name for name, _ in model.steps}
    known |= {n: k for n, k in model.stored.items() if n not in late}
    kinds: dict[str, Kind] = {}
    for name, step in model.steps:
        if isinstance(step, SqlFile):
            own = pl.LazyFrame(schema={n: k.polars for n, k in known.items()})
            found = run_sql(step, folder, {model.entity: own}, tables)
            kinds[name] = step.kind or kind_of(found[name].dtype)
            known[name] = kinds[name]
        else:
            known[name] = Kind.STRING if step.kind is Kind.UNTYPED else step.kind
    return kinds
