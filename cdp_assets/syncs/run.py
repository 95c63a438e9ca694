"""The two steps of a sync over the lake and the store: plan, and apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import msgspec
import polars as pl

from cdp_assets.connectors.base import Description, Destination, WrongObject
from cdp_assets.lake import Lake
from cdp_assets.settings import crash_point
from cdp_assets.store import Store, letters, pauses, plans
from cdp_assets.syncs import approval, check, guard, inputs, send, state
from cdp_assets.syncs.activities import activity_plan
from cdp_assets.syncs.check import SyncError
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.lists import NOBODY, ListWriter, list_plan
from cdp_assets.syncs.model import ALL, Inputs, Obstacle, Plan
from cdp_assets.syncs.planner import make_plan, owners
from cdp_assets.syncs.settle import settle
from cdp_assets.syncs.tables import plan_table, sought_table
from cdp_assets.syncs.unmoved import Noting, basis, unmoved


class Gather(Protocol):
    """Reads what a plan is made from (`inputs.gather`)."""

    def __call__(
        self, lake: Lake, store: Store, name: str, config: SyncConfig, entity: str, now: datetime, /
    ) -> Inputs: ...


@dataclass(frozen=True, kw_only=True)
class ApplyResult:
    """What a run of a sync did.

    unknown: rows that were sent and got no answer. message: why nothing, or not all, was written
    or is known to be; empty if all was.
    """

    plan: str
    written: int = 0
    created: int = 0
    failed: int = 0
    unknown: int = 0
    calls: int = 0
    message: str = ""


def plan(
    lake: Lake,
    store: Store,
    name: str,
    config: SyncConfig,
    destination: Destination,
    description: Description | None,
    now: datetime,
    *,
    entity: str,
    gather: Gather = inputs.gather,
    anew: bool = True,
) -> Plan:
    """Make the sync's plan, keep it as `syncs/<name>/plan` and as the current one in the store.

    anew: also where the current plan has nothing to write and nothing has moved since; else that
        one is returned, without its counts of profiles.

    entity: whose profiles `from` names, an audience's own where it names one. Ids are given out
        for each entity anew, so nothing here may be read as another entity's.

    Writes nothing to the destination. The rest of a plan that a run left half applied keeps its
    hash, and with it the yes.
    """
    with lake.step(f"syncs/{name}"):
        read = _reader(store, name, config, entity, now, gather)
        return _plan(
            lake, store, name, config, destination, description, now, entity, read, anew=anew
        )


def apply(
    lake: Lake,
    store: Store,
    name: str,
    config: SyncConfig,
    destination: Destination,
    description: Description | None,
    now: datetime,
    run_id: str,
    *,
    env: str = "development",
    url: str = "",
    entity: str,
    gather: Gather = inputs.gather,
    limit: int | None = None,
) -> ApplyResult:
    """Plan anew and, where nothing stands against it, write.

    env, url: CDP_ENV and the destination's address; outside production only a stand-in on this
        machine is written to. entity: as for `plan`. limit: no more rows than this; what is left
        of the plan stays approved.

    The plan is made again: what was approved is applied only if it still says the same. Raises
    the connector's error after all that was acknowledged is kept.
    """
    with lake.step(f"syncs/{name}"):
        calls = int(getattr(destination, "calls", 0))
        read = _reader(store, name, config, entity, now, gather)
        made = _plan(
            lake, store, name, config, destination, description, now, entity, read, anew=False
        )

        def result(message: str = "", sent: send.Sent | None = None) -> ApplyResult:
            spent = int(getattr(destination, "calls", 0)) - calls
            done = sent or send.Sent()
            return ApplyResult(
                plan=made.hash,
                written=done.written,
                created=done.created,
                failed=done.failed,
                unknown=done.unknown,
                calls=spent,
                message=message,
            )

        if made.stopped and not made.changes:
            return result(_stopped(made))
        if not made.changes:
            if made.resumed:
                plans.applied(store, name, made.hash, now)
            return result()
        if not guard.may_write(env, url):
            return result(guard.refusal(env, config.source))
        if (held := pauses.paused(store, name)) is not None:
            return result(_held(held))
        if made.stopped:
            return result(_stopped(made))
        if made.waits:
            return result(f"Waits for approval: {made.approve_hint}")
        writer = ListWriter(destination, config, made) if config.list_ is not None else None
        sent = send.send(
            store, destination, config, made, run_id, now, entity=entity, writer=writer, limit=limit
        )
        state.fold(lake, store, name)
        crash_point("apply:after-fold")
        if sent.error is not None:
            raise sent.error
        if not sent.message and not sent.unknown:
            plans.applied(store, name, made.hash, now)
        return result(" ".join(filter(None, (sent.message, _unanswered(sent.unknown)))), sent)


def _held(pause: pauses.Pause) -> str:
    what = "All syncs are" if pause.of_all else f"{pause.sync} is"
    return f"{what} paused since {pause.since}. To go on: {pause.cure}"


def _stopped(plan: Plan) -> str:
    return f"Not applied, stopped: {'; '.join(plan.stopped).rstrip('.')}."


def _unanswered(rows: int) -> str:
    if not rows:
        return ""
    what = "1 row" if rows == 1 else f"{rows} rows"
    them = "it" if rows == 1 else "them"
    return f"{what} got no answer; the next run reads {them} back before sending anything."


def _plan(
    lake: Lake,
    store: Store,
    name: str,
    config: SyncConfig,
    destination: Destination,
    description: Description | None,
    now: datetime,
    entity: str,
    read: Callable[[Lake], Inputs],
    *,
    anew: bool,
) -> Plan:
    try:
        paused = check.paused_fields(config, description, state.told_fields(lake, name))
        told = check.require(config, description, paused)
        state.fold(lake, store, name)
        if not anew:
            same = unmoved(lake, store, name, config, entity, paused, now)
            if same is not None:
                return same
        noting = Noting(lake)
        found = read(noting)
        if settle(store, destination, name, _owners(found), now, entity=entity, without=paused):
            state.fold(lake, store, name)
            noting = Noting(lake)
            found = read(noting)
        check.require_created(told, found.pulled, found.identifying)
        made = _made(name, told, found, destination, description, paused, now)
    except WrongObject:
        fresh = _described_anew(config, destination, description)
        if fresh is None:
            raise
        return _plan(lake, store, name, config, destination, fresh, now, entity, read, anew=anew)
    table = lake.open(plan_table(name))
    kept = table.scan().drop("_seq").collect()
    crash_point("plan:before-table")
    rest_of = approval.resumes(store, name, made, kept)
    if rest_of is not None:
        rows = made.rows.with_columns(plan=pl.lit(rest_of))
        made = replace(made, hash=rest_of, rows=rows, resumed=True)
    else:
        keys = pl.concat([kept.select("profile_id"), made.rows.select("profile_id")]).unique()
        if keys.height:
            table.replace(made.rows, scope=keys)
    crash_point("plan:after-table")
    state.remember(lake, name, entity, made.checked)
    if made.overtaken:
        letters.close(store, made.overtaken, now)
    if made.sought.height:
        lake.open(sought_table(name)).merge(made.sought)
    crash_point("plan:before-store")
    head = plans.PlanHead(
        sync=name,
        hash=made.hash,
        config=made.config,
        made_at=now,
        creates=made.creates,
        updates=made.rows_planned - made.creates,
        fields=made.fields_planned,
        errors=made.row_errors,
        stopped="; ".join(made.stopped) or None,
    )
    if rest_of is None:
        plans.keep(store, head, basis(noting, made, entity))
    return replace(made, waits=approval.waits(store, name, config, made.hash))


def _made(
    name: str,
    config: SyncConfig,
    found: Inputs,
    destination: Destination,
    description: Description | None,
    paused: Mapping[str, str],
    now: datetime,
) -> Plan:
    if config.list_ is not None:
        return list_plan(name, config, found, destination, now)
    obstacles = [
        Obstacle(
            profile_id=NOBODY,
            object=config.objects[0],
            record=f"{config.targets[0]}:{ALL}",
            why=why,
            field=field,
            op="paused",
        )
        for field, why in paused.items()
    ]
    make = activity_plan if config.rows == "entered" else make_plan
    return make(name, config, found, destination, description, now, obstacles)


def _described_anew(
    config: SyncConfig, destination: Destination, description: Description | None
) -> Description | None:
    """The description as the system gives it now; None where it is no other. A field that was
    removed since the last pull is found missing when it is read."""
    describe = getattr(destination, "describe", None)
    if describe is None or description is None:
        return None
    now: Description = describe(list(config.objects))
    objects = {**description.objects, **now.objects}
    if objects == description.objects:
        return None
    return msgspec.structs.replace(description, objects=objects)


def _reader(
    store: Store,
    name: str,
    config: SyncConfig,
    entity: str,
    now: datetime,
    gather: Gather,
) -> Callable[[Lake], Inputs]:
    if config.audience is None and entity != config.from_:
        raise SyncError(f"sync {name}: `from` names {config.from_}, not {entity}")
    return lambda lake: gather(lake, store, name, config, entity, now)


def _owners(found: Inputs) -> Callable[[Sequence[str]], dict[str, int]]:
    return lambda records: owners(records, found, found.state)
