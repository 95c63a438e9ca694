from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp_assets.lake import Lake

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", clock=lambda: NOW)
