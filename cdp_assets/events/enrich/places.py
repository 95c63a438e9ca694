"""Addresses to places, by a database file in MaxMind's format."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from cdp_assets.events.distinct import coded
from cdp_assets.events.enrich.kinds import EnrichError, missing

_COLUMNS: Final = ("country", "region", "city")
_NOWHERE: Final = (None, None, None)
_KEPT_V4, _KEPT_V6 = 24, 48
"""Bits that truncation leaves of an address."""


def opened(file: Path | None) -> Any:
    """A reader of the file as it is now. Raises EnrichError."""
    if file is None:
        raise EnrichError("`place` needs CDP_GEO_DATABASE: a file in MaxMind's format (.mmdb)")
    try:
        stat = file.stat()
    except OSError as error:
        raise EnrichError(f"CDP_GEO_DATABASE: {file} cannot be read ({error.strerror})") from error
    return _opened(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _opened(file: Path, changed: int, size: int) -> Any:
    del changed, size
    try:
        import maxminddb
    except ImportError:
        raise missing("place") from None
    try:
        return maxminddb.open_database(file, maxminddb.MODE_AUTO)
    except (maxminddb.InvalidDatabaseError, OSError) as error:
        raise EnrichError(
            f"CDP_GEO_DATABASE: {file} is no database of places in MaxMind's format"
        ) from error


def version(reader: Any) -> str:
    """Which database it is, and of which day."""
    about = reader.metadata()
    day = datetime.fromtimestamp(about.build_epoch, UTC).date()
    return f"{about.database_type} {day.isoformat()}"


def located(events: pl.DataFrame, reader: Any) -> pl.DataFrame:
    """country, region, city of each event's address.

    events: ip String. Of an address that was truncated (its last 8 bits are 0, of IPv6 its last
    80) only what holds for all addresses that it may have been is told: where the database divides
    them further, the country alone.
    """
    codes, addresses = coded(events["ip"])
    said = [place(address, reader) if address else _NOWHERE for address in addresses]
    return pl.DataFrame(said, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row")[codes]


def place(address: str, reader: Any) -> tuple[str | None, str | None, str | None]:
    """(country, region, city) of one address, as text; nothing where it is none or not known."""
    try:
        ip = ipaddress.ip_address(address.strip().strip("[]"))
        record, bits = reader.get_with_prefix_len(ip)
    except ValueError:  # no address, or one of IPv6 in a database of IPv4
        return _NOWHERE
    if not isinstance(record, dict):
        return _NOWHERE
    country = _code(record.get("country")) or _code(record.get("registered_country"))
    kept = _KEPT_V4 if ip.version == 4 else _KEPT_V6
    rest = (32 if ip.version == 4 else 128) - kept
    if int(ip) & ((1 << rest) - 1) == 0 and bits > kept:
        return country, None, None
    divisions = record.get("subdivisions")
    region = _code(divisions[0]) if isinstance(divisions, list) and divisions else None
    city = record.get("city")
    names = city.get("names") if isinstance(city, dict) else None
    name = names.get("en") if isinstance(names, dict) else city
    return country, region, name if isinstance(name, str) else None


def _code(item: Any) -> str | None:
    found = item.get("iso_code") if isinstance(item, dict) else item
    return found if isinstance(found, str) else None
