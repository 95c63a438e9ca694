"""A sensor that tells people outside Dagster what failed, was refused, or waits for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import dagster as dg
import msgspec

from cdp_assets.components.dagster_assets import safe_errors
from cdp_assets.deployment.alerts import Alert, AlertError, Way, deliver, ways
from cdp_assets.settings import Settings

QUIET = timedelta(hours=24)
"""The same alert is not sent again within."""
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_BATCH = 100
NOBODY_OF_ITS_OWN = "team:data"
"""Who owns an asset for which nobody is named."""
_WHAT_TO_DO = "open the run in Dagster and read its error; materialise again when it is mended"


class _Cursor(msgspec.Struct):
    """How far runs were looked at. at: time of the last run's end. seen: the runs of that very
    time. sent: alert and way → when it was last sent, ISO 8601."""

    at: str
    seen: list[str] = []
    sent: dict[str, str] = {}


def alerts() -> dg.Definitions:
    """The sensor, where the settings name a webhook or an address; else nothing."""
    if not ways(Settings()):
        return dg.Definitions()

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts or mails failed runs, failed checks, refused rows and plans that wait "
        "for approval: CDP_ALERT_WEBHOOK, CDP_ALERT_EMAIL. The same alert once a day.",
    )
    @safe_errors
    def watch(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(UTC)
        settings = Settings()
        cursor = _read(context.cursor, now)
        count, broken = 0, dict[Way, str]()
        owners = _owners(context.repository_def)
        for run in _ended(context.instance, cursor):
            for alert in of_run(context.instance, run, settings.ui_url, owners):
                count += _send(settings, alert, cursor, now, broken)
            # From the first that was not told every way on, runs are looked at again.
            if not broken:
                _pass(cursor, run)
        context.update_cursor(msgspec.json.encode(cursor).decode())
        return dg.SkipReason("; ".join(broken.values()) or f"{count} alerts sent")

    return dg.Definitions(sensors=[watch])


def _owners(repository: dg.RepositoryDefinition | None) -> Mapping[str, str]:
    """Asset, and step that makes it → who answers for it; nobody where that is the usual team."""
    found: dict[str, str] = {}
    for node in repository.asset_graph.asset_nodes if repository is not None else ():
        named = [owner for owner in node.owners or () if owner != NOBODY_OF_ITS_OWN]
        if not named:
            continue
        whose = ", ".join(sorted(named))
        found[node.key.to_user_string()] = whose
        definition = node.assets_def if hasattr(node, "assets_def") else None
        if definition is not None and definition.op is not None:
            found.setdefault(definition.op.name, whose)
    return found


def of_run(
    instance: dg.DagsterInstance,
    run: dg.RunRecord,
    ui_url: str,
    owners: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Alert]:
    """What a run that has ended gives cause to tell. owners: of assets and steps by their names."""
    for alert in _of_run(instance, run, ui_url):
        whose = owners.get(alert.where.partition(":")[0].strip(), "")
        yield replace(alert, owner=whose)


def _of_run(instance: dg.DagsterInstance, run: dg.RunRecord, ui_url: str) -> Iterator[Alert]:
    run_id = run.dagster_run.run_id
    link = f"{ui_url.rstrip('/')}/runs/{run_id}"
    steps = 0
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            steps += 1
            yield Alert(
                severity="error",
                where=event.step_key or "a step",
                what=_reason(event.event_specific_data),
                do=_WHAT_TO_DO,
                run_id=run_id,
                link=link,
            )
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            yield from _check(event.event_specific_data, run_id, link)
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            yield from _sync(event.event_specific_data, run_id, link)
    if run.dagster_run.status == dg.DagsterRunStatus.FAILURE and not steps:
        yield Alert(
            severity="error",
            where=run.dagster_run.job_name,
            what="the run failed outside its steps",
            do=_WHAT_TO_DO,
            run_id=run_id,
            link=link,
        )


def _reason(failure: Any) -> str:
    # Only a description was written for people; any other text may quote a row.
    said = getattr(failure, "user_failure_data", None)
    return (said.description if said else None) or "it failed; its text is in the run alone"


def _check(found: Any, run_id: str, link: str) -> Iterator[Alert]:
    if found.passed:
        return
    warning = found.severity == dg.AssetCheckSeverity.WARN
    yield Alert(
        severity="warning" if warning else "error",
        where=f"{found.asset_key.to_user_string()}: check {found.check_name}",
        what=found.description or "it did not pass",
        do="look at the check's figures in Dagster",
        run_id=run_id,
        link=link,
    )


def _sync(found: Any, run_id: str, link: str) -> Iterator[Alert]:
    where = found.materialization.asset_key.to_user_string()
    if not where.startswith("syncs/"):
        return
    values = {name: item.value for name, item in found.materialization.metadata.items()}
    name = where.split("/")[1]
    if values.get("failed"):
        yield Alert(
            severity="warning",
            where=where,
            what=f"{values['failed']} of its rows were refused",
            do=f"`cdp letters` says why; when it is mended: cdp replay {name}",
            run_id=run_id,
            link=link,
        )
    if note := values.get("note"):
        waits = str(note).startswith("Waits for approval")
        yield Alert(
            severity="waiting" if waits else "warning",
            where=where,
            what=str(note),
            do=f"look at it with: cdp plan {name}",
            run_id=run_id,
            link=link,
        )


def _ended(instance: dg.DagsterInstance, cursor: _Cursor) -> Iterator[dg.RunRecord]:
    after = datetime.fromisoformat(cursor.at) - timedelta(microseconds=1)
    found = instance.get_run_records(
        dg.RunsFilter(statuses=_ENDED, updated_after=after),
        limit=_BATCH + len(cursor.seen),
        order_by="update_timestamp",
        ascending=True,
    )
    return (run for run in found if run.dagster_run.run_id not in cursor.seen)


def _pass(cursor: _Cursor, run: dg.RunRecord) -> None:
    at = run.update_timestamp.isoformat()
    cursor.seen = [*cursor.seen, run.dagster_run.run_id] if at == cursor.at else [
        run.dagster_run.run_id
    ]  # fmt: skip
    cursor.at = at


def _send(
    settings: Settings, alert: Alert, cursor: _Cursor, now: datetime, broken: dict[Way, str]
) -> bool:
    """Send an alert each way that it did not go yet; whether it went any. A way that fails is
    noted in `broken` and left alone until the next tick, while the other goes on."""
    digest = hashlib.sha256(alert.key.encode()).hexdigest()[:16]
    oldest = (now - QUIET).isoformat()
    cursor.sent = {key: at for key, at in cursor.sent.items() if at > oldest}
    went = False
    for way in ways(settings):
        key = f"{digest} {way}"
        if key in cursor.sent or way in broken:
            continue
        try:
            deliver(settings, alert, way)
        except AlertError as error:
            broken[way] = str(error)
            continue
        cursor.sent[key] = now.isoformat()
        went = True
    return went


def _read(text: str | None, now: datetime) -> _Cursor:
    # What ended before the sensor was switched on is history.
    return msgspec.json.decode(text, type=_Cursor) if text else _Cursor(at=now.isoformat())
