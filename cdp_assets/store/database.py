"""The connection to the operational database: SQLite on a laptop, PostgreSQL where there is one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from cdp_assets.store import ledger

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_SECONDS = 60
_MIGRATION_LOCK = 4_823_001
_LEDGER_LOCK = 4_823_002


class StoreError(Exception):
    """The operational database cannot be used. The text says which, why and what to do."""


class Store:
    """The operational database.

    url: SQLAlchemy URL. `sqlite:///…` makes the file (mode 0600) with its folder; `postgresql://…`
    is read as psycopg's. No I/O before the first use.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if not self.sqlite and parsed.get_backend_name() != "postgresql":
            raise StoreError(
                f"CDP_STORE_URL names {parsed.get_backend_name()}; the store is SQLite or "
                "PostgreSQL. Not retried."
            )
        self.shown = parsed.render_as_string(hide_password=True)
        self._file = Path(parsed.database) if self.sqlite and parsed.database else None
        options: dict[str, Any] = {"pool_pre_ping": True}
        if self.sqlite:
            options["connect_args"] = {"timeout": _BUSY_SECONDS}
        self.engine: Engine = create_engine(parsed, hide_parameters=True, **options)
        if self.sqlite:
            event.listen(self.engine, "connect", _sqlite_connected)
            event.listen(self.engine, "begin", _sqlite_begin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that only reads, at one moment's state. Waits for no writer."""
        with self._guarded(), self.engine.connect() as connection:
            reading = connection.execution_options(cdp_reading=True)
            with reading.begin():
                yield reading

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction that writes; committed at the end, rolled back on error."""
        with self._guarded(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write_ledger(self) -> Iterator[Connection]:
        """As `write`, one at a time: ledger ids become visible in their order, so a reader that
        remembers the last one misses none."""
        with self._guarded(), self.engine.begin() as connection:
            self._lock(connection, _LEDGER_LOCK)
            yield connection

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema up to this version, or to an older one's `revision`. Safe with several
        processes at once, and cheap where there is nothing to do.

        Raises StoreError where the database cannot be reached or is of a later version.
        """
        self._make_file()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self._guarded(), self.engine.begin() as connection:
            self._lock(connection, _MIGRATION_LOCK)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def frame(self, connection: Connection, statement: Any, schema: dict[str, Any]) -> pl.DataFrame:
        """The rows of a select as a frame with these columns, in this order."""
        rows = [tuple(row) for row in connection.execute(statement)]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def told(self, after_id: int = 0) -> pl.DataFrame:
        """What syncs told outside systems, above a ledger id (see `ledger.told`)."""
        return ledger.told(self, after_id)

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()

    def _lock(self, connection: Connection, number: int) -> None:
        # SQLite's BEGIN IMMEDIATE has locked the whole database already.
        if not self.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": number})

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Errors of the database without its own texts, which quote rows."""
        try:
            yield
        except DBAPIError as error:
            reason = type(error.orig).__name__ if error.orig else type(error).__name__
            again = isinstance(error, OperationalError)
            raise StoreError(
                f"The operational database {self.shown} did not do as asked ({reason}). "
                + (
                    "A later run tries again. Check CDP_STORE_URL, that the server runs, and the "
                    "disk."
                    if again
                    else "Not retried, and nothing of it was kept: a mistake of this program."
                )
            ) from None

    def _make_file(self) -> None:
        if self._file is None or str(self._file) == ":memory:":
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
        self._file.chmod(0o600)


def _sqlite_connected(connection: Any, record: Any) -> None:
    del record
    # The driver must not begin transactions by itself: `_sqlite_begin` says which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    _write_ahead(cursor)
    # An intent must be on disk before the call it announces goes out.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    # Of two processes that switch a new file at once SQLite refuses one without waiting: its busy
    # timeout does not hold for a change of the journal's mode.
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _sqlite_begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("cdp_reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
