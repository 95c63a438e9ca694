"""One deployment: what its defs/ declares, checked, and the rooms wired for it.

Knows nothing of Dagster; `components` makes assets of it, the command line calls it directly.
"""
