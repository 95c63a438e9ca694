"""Fixtures of every room's tests, and the rule that CI skips nothing in silence."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # no test fails for a busy machine

pytest_plugins = ["cdp_assets_tests.browser", "cdp_assets_tests.engines"]

ABSENT_IN_CI = ("CDP_SPECS", "DATA ", "Sail 0.7.2 lacks")
"""What may be skipped in CI: outside specs and data that a machine need not have, and what the
Spark engine of the tests cannot say (each named where it is skipped)."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one, unless what it lacks may be absent."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        reason = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        if not any(word in reason for word in ABSENT_IN_CI):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI: {reason}"
    return report
