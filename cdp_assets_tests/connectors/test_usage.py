"""A day's requests are counted for all processes of a deployment, so that a share of them holds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cdp_assets.connectors.base import BudgetSpent
from cdp_assets.connectors.hubspot.policy import HubSpotPolicy
from cdp_assets.connectors.policy import Policy
from cdp_assets.connectors.salesforce.policy import SalesforcePolicy
from cdp_assets.connectors.usage import DailyUsage

NOW = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)


def _count(folder: Path, times: int) -> None:
    usage = DailyUsage("crm", folder, lambda: NOW)
    for _ in range(times):
        usage.add()


def test_processes_count_in_one_place(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_count, args=(tmp_path, 500)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert DailyUsage("crm", tmp_path, lambda: NOW).total == 1_500
    assert DailyUsage("other", tmp_path, lambda: NOW).total == 0


def test_a_new_day_begins_at_nothing_and_keeps_no_old_file(tmp_path: Path) -> None:
    now = [NOW]
    usage = DailyUsage("crm", tmp_path, lambda: now[0])
    usage.add()
    now[0] += timedelta(minutes=2)
    assert usage.total == 0
    usage.add()
    assert usage.total == 1
    assert [file.name for file in tmp_path.iterdir()] == ["crm.2026-03-02"]


def test_without_a_folder_it_counts_its_own() -> None:
    usage = DailyUsage("crm")
    usage.add()
    assert (usage.total, DailyUsage("crm").total) == (1, 0)


def _salesforce(usage: DailyUsage) -> Policy:
    return SalesforcePolicy("crm", 0.1, usage)


def _hubspot(usage: DailyUsage) -> Policy:
    return HubSpotPolicy("crm", 0.1, usage)


@pytest.mark.parametrize(
    ("policy", "headers"),
    [
        (_salesforce, {"Sforce-Limit-Info": "api-usage=18/100"}),
        (
            _hubspot,
            {"X-HubSpot-RateLimit-Daily": "100", "X-HubSpot-RateLimit-Daily-Remaining": "80"},
        ),
    ],
)
def test_a_share_holds_over_all_steps(
    tmp_path: Path, policy: Callable[[DailyUsage], Policy], headers: dict[str, str]
) -> None:
    sent = 0

    def a_step() -> None:
        """Each step of a run has a client of its own."""
        nonlocal sent
        client = policy(DailyUsage("crm", tmp_path, lambda: NOW))
        for _ in range(4):
            client.check()
            client.seen(headers)
            sent += 1

    a_step()
    a_step()
    with pytest.raises(BudgetSpent, match=r"our share .* is used up \(10 of 100, api_budget 10%\)"):
        a_step()
    assert sent == 10
