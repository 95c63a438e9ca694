from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from cdp_assets.store import Store, StoreError, ledger, letters, plans
from cdp_assets.store.models import Base

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def intent(profile_id: int = 1, record_id: str | None = "a", **options: Any) -> ledger.Intent:
    base: dict[str, Any] = {
        "entity": "person",
        "profile_id": profile_id,
        "source": "crm",
        "object": "Contact",
        "record_id": record_id,
        "op": "update" if record_id else "create",
        "fields": {"Title": "CTO", "Note": None},
        "asked": {},
        "digest": "d",
    }
    return ledger.Intent(**{**base, **options})


def announce(store: Store, *intents: ledger.Intent, sync: str = "s") -> list[int]:
    return ledger.announce(store, sync, "plan", "run", list(intents), NOW)


def answer(store: Store, *answers: ledger.Answer) -> None:
    entries = ledger.by_id(store, [a.id for a in answers])
    ledger.answer(store, entries, answers, NOW)


def test_the_migrations_make_what_the_models_say(store: Store) -> None:
    store.migrate()
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_store_from_before_entities_were_kept(url: str) -> None:
    """Its rows stay, count as the entity's that the sync has now."""
    store = Store(url)
    store.migrate("0001")
    with store.write() as connection:
        connection.execute(
            text(
                "INSERT INTO sync_dead_letter (sync, profile_id, target, op, digest, error_class, "
                "message, attempts, first_at, last_at, state) VALUES ('s', 1, 'crm.Contact:a', "
                "'update', 'd', 'data', 'no', 1, :at, :at, 'open')"
            ),
            {"at": NOW.replace(tzinfo=None) if store.sqlite else NOW},
        )
    store.migrate()
    assert letters.frame(store, "s", entity="person").select("entity", "attempts").rows() == [
        ("", 1)
    ]
    for entity in ("person", "account"):
        (one,) = announce(store, intent(entity=entity))
        answer(store, ledger.Answer(id=one, outcome="failed", message="no"))
    assert letters.frame(store, "s").select("entity", "attempts").rows() == [
        ("person", 2),
        ("account", 1),
    ]
    (one,) = announce(store, intent(entity="account"))
    answer(store, ledger.Answer(id=one, outcome="ok"))
    assert letters.frame(store, "s")["entity"].to_list() == ["person"]
    assert letters.frame(store, "s", entity="account").is_empty()
    store.close()


def _migrate(url: str, start: Any, failures: Any) -> None:
    start.wait()
    try:
        Store(url).migrate()
    except Exception as error:  # noqa: BLE001
        failures.put(repr(error))


def test_several_processes_may_migrate_at_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, failures = spawn.Barrier(3), spawn.Queue()
    workers = [spawn.Process(target=_migrate, args=(url, start, failures)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert failures.empty(), failures.get()
    assert [w.exitcode for w in workers] == [0, 0, 0]
    store = Store(url)
    assert ledger.told(store).is_empty()
    store.close()


def test_a_new_file_that_someone_writes_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, writer.close)
    done.start()
    store = Store(f"sqlite:///{file}")
    store.migrate()
    done.join()
    assert ledger.told(store).is_empty()
    store.close()


def test_what_is_told(store: Store) -> None:
    sent, refused, lost, made, open_ = announce(
        store, intent(1, "a"), intent(2, "b"), intent(3, "c"), intent(4, None), intent(5, None)
    )
    answer(
        store,
        ledger.Answer(id=sent, outcome="ok"),
        ledger.Answer(id=refused, outcome="failed", error_class="data", message="no"),
        ledger.Answer(id=lost, outcome="lost"),
        ledger.Answer(id=made, outcome="ok", record_id="new", created=True),
    )
    told = store.told()
    assert told.select("id", "record_id", "field", "value", "outcome").rows() == [
        (sent, "a", "Note", None, "ok"),
        (sent, "a", "Title", "CTO", "ok"),
        (refused, "b", "Note", None, "failed"),
        (refused, "b", "Title", "CTO", "failed"),
        (lost, "c", "Note", None, "failed"),
        (lost, "c", "Title", "CTO", "failed"),
        (made, "new", "Note", None, "ok"),
        (made, "new", "Title", "CTO", "ok"),
        (open_, None, "Note", None, None),
        (open_, None, "Title", "CTO", None),
    ]
    assert set(told["told_at"]) == {NOW}
    assert store.told(made)["id"].unique().to_list() == [open_]
    assert [e.id for e in ledger.pending(store, "s")] == [open_]


def test_an_outcome_is_written_once(store: Store) -> None:
    (one,) = announce(store, intent())
    answer(store, ledger.Answer(id=one, outcome="ok"))
    answer(store, ledger.Answer(id=one, outcome="lost"))
    assert ledger.by_id(store, [one])[0].outcome == "ok"


def test_intents_are_written_all_or_none(store: Store) -> None:
    bad = intent(fields={"x": "ada@example.com"}, digest=None)
    with pytest.raises(StoreError, match="nothing of it was kept") as caught:
        announce(store, intent(), bad)
    shown = "".join(traceback.format_exception(caught.value))
    assert "ada@example.com" not in shown, "PostgreSQL quotes the row in its own text"
    assert store.told().is_empty()


def test_text_that_databases_stumble_over(store: Store) -> None:
    value = "nul\0 'quote' \\ \U0001f600 \u202e"
    (one,) = announce(store, intent(fields={"Title": value}))
    assert ledger.by_id(store, [one])[0].fields == {"Title": value}


def test_letters_open_count_release_and_settle(store: Store) -> None:
    for attempt in (1, 2):
        (one,) = announce(store, intent())
        answer(
            store, ledger.Answer(id=one, outcome="failed", error_class="data", message="too long")
        )
        assert letters.frame(store, "s")["attempts"].to_list() == [attempt]
    assert letters.release(store, "s", []) == 0
    assert letters.release(store, "s") == 1
    assert letters.frame(store, "s").is_empty()
    (one,) = announce(store, intent())
    answer(store, ledger.Answer(id=one, outcome="ok"))
    assert letters.frame(store, "s", states=("settled",))["attempts"].to_list() == [2]


def test_plans_and_approvals(store: Store) -> None:
    def head(hash_: str, at: datetime) -> plans.PlanHead:
        return plans.PlanHead(
            sync="s", hash=hash_, config="c", made_at=at,
            creates=0, updates=1, fields=2, errors=0, stopped=None,
        )  # fmt: skip

    plans.keep(store, head("aaaa1", NOW))
    plans.keep(store, head("aaaa2", NOW + timedelta(hours=1)))
    plans.keep(store, head("aaaa1", NOW + timedelta(hours=2)))
    current = plans.current(store, "s")
    assert current == head("aaaa1", NOW + timedelta(hours=2))
    assert [p.hash for p in plans.find(store, "aaaa")] == ["aaaa1", "aaaa2"]
    assert plans.find(store, "%") == []
    plans.approve(store, current, "ada", NOW)
    assert plans.approvals(store, "s") == [plans.Approval("s", "aaaa1", "c", "ada", NOW)]
    assert not plans.begun(store, "s", "plan")
    announce(store, intent())
    assert plans.begun(store, "s", "plan")
    plans.applied(store, "s", "aaaa1", NOW)
    assert plans.current(store, "s") == current


def test_ids_become_visible_in_their_order(store: Store) -> None:
    """Who remembers the last id it has read misses none, however many syncs write at once."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            while not stop.is_set():
                announce(store, intent(), intent(2), sync=name)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    writers = [threading.Thread(target=write, args=(f"s{n}",)) for n in range(3)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        seen += store.told(seen[-1] if seen else 0)["id"].unique(maintain_order=True).to_list()
    stop.set()
    for writer in writers:
        writer.join()
    seen += store.told(seen[-1] if seen else 0)["id"].unique(maintain_order=True).to_list()
    assert not failures
    assert seen == store.told()["id"].unique(maintain_order=True).to_list()
    assert len(seen) > 4


def test_a_database_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    store = Store("postgresql://someone:secret-word@127.0.0.1:1/nothing")
    with pytest.raises(StoreError, match="Check CDP_STORE_URL") as caught:
        store.migrate()
    assert "secret-word" not in str(caught.value)
    with pytest.raises(StoreError, match="SQLite or PostgreSQL"):
        Store("mysql://x/y")


# SQLite alone


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "store.db"


def test_the_file_is_for_its_owner_alone(file: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(f"sqlite:///{file}")
        store.migrate()
        announce(store, intent())
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in file.parent.iterdir()}
    assert modes["store.db"] == 0o600
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_sqlite_is_set_up_for_safety(file: Path) -> None:
    store = Store(f"sqlite:///{file}")
    store.migrate()
    with store.read() as connection:
        names = ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
        found = [connection.execute(text(f"PRAGMA {n}")).scalar() for n in names]
    assert found == ["wal", 2, 1, 60_000]


def test_a_reader_does_not_wait_and_a_writer_does(file: Path) -> None:
    store = Store(f"sqlite:///{file}")
    store.migrate()
    other = Store(f"sqlite:///{file}")
    took: dict[str, float] = {}

    def timed(name: str, action: Any) -> None:
        begun = time.monotonic()
        action()
        took[name] = time.monotonic() - begun

    with store.write_ledger():
        reader = threading.Thread(target=timed, args=("read", other.told))
        writer = threading.Thread(target=timed, args=("write", lambda: announce(other, intent())))
        reader.start()
        reader.join(10)
        writer.start()
        time.sleep(0.4)
    writer.join(10)
    assert took["read"] < 0.4
    assert took["write"] >= 0.35
    assert len(ledger.pending(store, "s")) == 1


def _announce_and_die(url: str) -> None:
    announce(Store(url), intent())
    os._exit(137)


def test_an_intent_outlives_its_process(file: Path) -> None:
    Store(f"sqlite:///{file}").migrate()
    spawn = multiprocessing.get_context("spawn")
    worker = spawn.Process(target=_announce_and_die, args=(f"sqlite:///{file}",))
    worker.start()
    worker.join(60)
    assert len(ledger.pending(Store(f"sqlite:///{file}"), "s")) == 1


def test_ids_are_never_given_twice(file: Path) -> None:
    store = Store(f"sqlite:///{file}")
    store.migrate()
    (one,) = announce(store, intent())
    with store.write() as connection:
        connection.execute(text("DELETE FROM sync_ledger"))
    assert announce(store, intent()) == [one + 1]
