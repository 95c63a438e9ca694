"""What all sub-commands of `cdp` share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Protocol

from cdp_assets.settings import Settings

Command = Callable[[argparse.Namespace], int]


class Add(Protocol):
    """Adds a sub-command to the parser."""

    def __call__(self, name: str, run: Command, text: str, /) -> argparse.ArgumentParser: ...


def complain(message: str) -> None:
    """Tell what is wrong, on standard error."""
    print(message, file=sys.stderr)


def open_platform() -> Any:
    """The deployment that is meant here, its rooms wired. Raises ConfigurationError with every
    mistake that keeps a definition from being read."""
    from cdp_assets.deployment.declarations import find_defs, load_deployment
    from cdp_assets.deployment.platform import Platform

    settings = Settings()
    return Platform(settings, load_deployment(find_defs(settings)).require_valid())


def count(text: str) -> int:
    """An argument that is a number from 0 on."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, not {text!r}")
    return int(text)
