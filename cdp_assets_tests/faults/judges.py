"""What a stand-in's journal must not show, whatever the day was like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

Entries = Sequence[Mapping[str, Any]]
_CREATING = re.compile(r"/composite/sobjects$|/batch/create$|/create_many|/bulk$")
"""Paths by which a POST makes records that have no key of their own."""
_LOOKING = re.compile(r"/query|/batch/read|/search|/filter|/show_many")


def asked_too_soon(journal: Entries) -> list[str]:
    """Requests that came before the `Retry-After` of an earlier answer had passed."""
    found = []
    for told in journal:
        text = told["retry_after"]
        if not text:
            continue
        until = (
            told["at"] + float(text)
            if text.replace(".", "").isdigit()
            else parsedate_to_datetime(text).timestamp()
        )
        for later in journal:
            begun = later["at"] - later["seconds"]
            if later["number"] > told["number"] and told["at"] < begun < until - 0.01:
                found.append(f"{later['path']}: {until - begun:.1f} s too soon")
    return found


def made_twice(journal: Entries) -> list[str]:
    """Requests to create that were sent again, though they might have taken effect, by somebody who
    had not looked."""
    found = []
    waiting: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in journal:
        if _LOOKING.search(entry["path"]):
            waiting.clear()
        creating = entry["method"] == "POST" and _CREATING.search(entry["path"])
        if not creating or (entry["path"].endswith("/bulk") and not entry["posts"]):
            continue
        key = entry["path"], entry["body"]
        if key in waiting:
            found.append(f"{entry['path']} (request {entry['number']})")
        if not 400 <= entry["status"] < 500:
            waiting[key] = entry
    return found


def turned_away(journal: Entries) -> list[str]:
    """Requests over a limit that the system enforces by itself."""
    return [e["path"] for e in journal if e["status"] == 429 and e["fault"] is None]
