"""One test, two engines: the `engine` fixture runs a Narwhals transform on polars and on Sail.

    @pytest.mark.parametrize(...)
    def test_law(engine: Engine) -> None:
        result = engine.collect(transform(engine.frame(rows)))

Sail is a Spark Connect server from a wheel. It runs as a subprocess, one a session, since a server
inside the test's own process keeps it from ending.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl
import pytest


@dataclass(frozen=True)
class Engine:
    """Where a transform runs. `name` is "polars" or "sail"."""

    name: str
    session: Any = None

    def frame(self, rows: pl.DataFrame) -> nw.LazyFrame[Any]:
        """`rows` as a lazy frame of this engine."""
        if self.session is None:
            return nw.from_native(rows.lazy())
        return nw.from_native(self.session.createDataFrame(_spark_arrow(rows)))

    def collect(self, frame: nw.LazyFrame[Any] | Any) -> pl.DataFrame:
        """The rows of a lazy frame of this engine, with times in UTC microseconds and plain
        64-bit integers as the polars engine gives them."""
        native = nw.to_native(frame, pass_through=True)
        if self.session is None:
            return native.collect() if isinstance(native, pl.LazyFrame) else native
        found = pl.from_arrow(native.toArrow())
        assert isinstance(found, pl.DataFrame)
        return found.with_columns(
            pl.col(name).cast(pl.Datetime("us", "UTC"))
            for name, kind in found.schema.items()
            if isinstance(kind, pl.Datetime)
        )


def _spark_arrow(rows: pl.DataFrame) -> Any:
    """As Arrow without the types that Spark does not know (views, large strings, unsigned)."""
    rows = rows.with_columns(
        pl.col(name).cast(pl.Int64)
        for name, kind in rows.schema.items()
        if kind in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    )
    import pyarrow as pa

    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [f.with_type(_small(f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def _small(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind):
        return pa.list_(_small(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct(
            [kind.field(i).with_type(_small(kind.field(i).type)) for i in range(kind.num_fields)]
        )
    return kind


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sail_server() -> Iterator[str]:
    """A Sail server for as long as the block lasts; yields its address (`sc://host:port`)."""
    port = _free_port()
    command = "import sys; from pysail.cli import main; sys.argv[0] = 'sail'; main()"
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-c", command, "spark", "server", "--port", str(port)],
            cwd=folder,
            stdout=log,
            stderr=log,
            # by default a session that rests for some minutes ends, as it may on a busy machine
            env={
                **os.environ,
                "RUST_LOG": "error",
                "SAIL_SPARK__SESSION_TIMEOUT_SECS": "86400",
            },
        )
        try:
            for _ in range(600):
                if server.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"the Sail server ended at once: {log.read()!r}")
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield f"sc://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture(scope="session")
def sail() -> Iterator[Any]:
    """A Spark Connect session on a Sail server, shared by all tests of the run."""
    connect = pytest.importorskip("pyspark.sql", reason="the extra `spark` is not installed")
    pytest.importorskip("pysail", reason="the extra `spark` is not installed")
    with sail_server() as address:
        session = connect.SparkSession.builder.remote(address).getOrCreate()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        try:
            yield session
        finally:
            session.stop()


@pytest.fixture(params=["polars", pytest.param("sail", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Runs the test once on polars and once on Sail through Spark Connect."""
    if request.param == "polars":
        return Engine("polars")
    return Engine("sail", request.getfixturevalue("sail"))
