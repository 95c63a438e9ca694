"""Events: files of Segment's JSON, or rows of files, become tables `events`, `events/<event>` and
`events/values`; what is no event goes to raw/quarantine."""

from cdp_assets.events.config import EventFilesConfig, EventFilesSpec, FilesConfig
from cdp_assets.events.ingest import IngestResult, decode, ingest
from cdp_assets.events.tables import EVENTS, VALUES, typed_columns, typed_keys, typed_table
from cdp_assets.events.typed import typed_specs

__all__ = [
    "EVENTS",
    "VALUES",
    "EventFilesConfig",
    "EventFilesSpec",
    "FilesConfig",
    "IngestResult",
    "decode",
    "ingest",
    "typed_columns",
    "typed_keys",
    "typed_specs",
    "typed_table",
]
