"""Loads the example's defs/, with what every deployment shares."""

from pathlib import Path

import dagster as dg

from cdp_assets.definitions import load


@dg.definitions
def defs() -> dg.Definitions:
    return load(Path(__file__).parent)
