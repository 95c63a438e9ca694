"""Identity's marks over made-up worlds of other seeds and sizes, by `python -m
cdp_assets_tests.e2e.test_quality PEOPLE SEED…` too, which prints the figures."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from cdp_assets_tests.e2e.house import House, sandbox, variables

STEPS = ("pull", "ingest", "records", "resolve")


def measure(folder: Path, people: int, seed: int, *more: str) -> dict[str, Any]:
    """Run a world up to identity (and `more` steps) and score it."""
    seconds: dict[str, float] = {}
    with sandbox(folder / "world", people, seed) as served:
        house = House(folder / "home", variables(served))
        for step in (*STEPS, *more):
            began = time.monotonic()
            house.run(step)
            seconds[step] = round(time.monotonic() - began, 1)
    score = house.score(folder / "world")
    return {
        "people": people,
        "seed": seed,
        "precision": round(score.precision, 5),
        "recall": round(score.recall, 5),
        "reachable": round(score.recall_reachable, 5),
        "wrong_merges": score.wrong_merges,
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


CASES = [
    *(pytest.param(300, seed, marks=pytest.mark.slow) for seed in (2, 3, 7, 42)),
    *(pytest.param(2000, seed, marks=pytest.mark.slow) for seed in (1, 2, 3)),
    pytest.param(5000, 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("people", "seed"), CASES)
def test_marks(tmp_path: Path, people: int, seed: int) -> None:
    found = measure(tmp_path, people, seed)
    assert found["precision"] >= 0.99, found
    assert found["recall"] >= 0.98 * found["reachable"], found


if __name__ == "__main__":
    for number in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as temporary:
            whole = ("build", "audiences", "plan", "approve", "apply")
            print(measure(Path(temporary), int(sys.argv[1]), int(number), *whole), flush=True)
