"""The landing log: what reached the collector, as it came, durable before it is acknowledged.

A folder of segments, each written by one process. What is appended is framed and checksummed; a
closed segment is sealed under its final name and never changed again.
"""

from cdp_assets.landing.frames import Frame, Request
from cdp_assets.landing.segments import SEALED, damaged, is_whole, read, recover, sealed
from cdp_assets.landing.writer import LogWriter, Overloaded, Unwritable

__all__ = [
    "SEALED",
    "Frame",
    "LogWriter",
    "Overloaded",
    "Request",
    "Unwritable",
    "damaged",
    "is_whole",
    "read",
    "recover",
    "sealed",
]
