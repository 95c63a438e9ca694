"""One sandbox for the tests of this room; each test finds it quiet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdp_assets_tests.connectors.stand_in import StandIn, sandbox


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox")) as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(running: StandIn) -> StandIn:
    running.quiet()
    return running
