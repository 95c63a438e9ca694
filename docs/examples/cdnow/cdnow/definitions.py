"""Loads the example's defs/, with what every deployment shares."""

from pathlib import Path

import dagster as dg

from cdp_assets.definitions import shared


@dg.definitions
def defs() -> dg.Definitions:
    return shared(dg.load_from_defs_folder(path_within_project=Path(__file__).parent))
