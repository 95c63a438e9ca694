from __future__ import annotations

from pathlib import Path

import pytest

from cdp_assets.lake import Lake
from cdp_assets_tests.events.world import NOW


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", clock=lambda: NOW)
