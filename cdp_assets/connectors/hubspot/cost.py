"""What writing to HubSpot may cost: contacts that are set as marketing contacts are billed, and the
subscription moves up a tier by itself ("Marketing contacts")."""

from __future__ import annotations

from collections.abc import Mapping

MARKETABLE = "hs_marketable_status"


def cost(created: Mapping[str, int], fields: Mapping[str, int]) -> list[str]:
    """A sentence for each thing that may cost money; see `base.Priced`."""
    said = []
    if count := created.get("contacts", 0):
        said.append(
            f"{count:,} new contacts, none of them a marketing contact: that status is never set "
            "unless a sync names it"
        )
    if count := fields.get(MARKETABLE, 0):
        said.append(
            f"{MARKETABLE} of {count:,} contacts: HubSpot bills marketing contacts, and moves the "
            "account up a tier by itself"
        )
    return said
