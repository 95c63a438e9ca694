"""One sandbox for all contract tests, and the published specs it is held against."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp_assets_tests.sandbox.running import Running, running


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("sandbox") / "world"
    with running(home, "--people", "300", "--seed", "5") as found:
        yield found


@pytest.fixture(scope="session")
def specs() -> Path:
    folder = os.environ.get("CDP_SPECS")
    if not folder:
        pytest.skip("CDP_SPECS names no folder of published specs and recordings")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"CDP_SPECS={folder} is no folder")
    return path
