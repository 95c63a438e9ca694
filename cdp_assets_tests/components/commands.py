"""Commands run as a person runs them, in an environment that says nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cdp_assets_tests.components.projects import BIN


def bare_environment(home: Path, **more: str) -> dict[str, str]:
    """What a shell with our venv has, and no more; `dg` has greeted once (its telemetry is off)."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dg.toml").write_text("[cli.telemetry]\nenabled = false\n", "utf-8")
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(BIN.parent),
        "HOME": str(home),
        "DG_CLI_CONFIG": str(home / "dg.toml"),
        "XDG_DATA_HOME": str(home / "data"),
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
        **more,
    }


def run(
    folder: Path, home: Path, *command: str, timeout: float = 300, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`; both streams as text."""
    return subprocess.run(
        command,
        cwd=folder,
        env=bare_environment(home, **more),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
