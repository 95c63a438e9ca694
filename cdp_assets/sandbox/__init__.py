"""A sandbox for the platform: stand-in CRMs and a made-up world whose truth is known.

It imitates the vendors, not our clients, and imports nothing else of this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdp_assets.sandbox.world.truth import Score, Truth

__all__ = ["Score", "Truth", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cdp sandbox`."""
    from cdp_assets.sandbox.server import main as serve

    return serve(argv)
