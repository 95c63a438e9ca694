"""HubSpot: pull by list and search, push by batches."""

from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.hubspot.connector import HubSpot

__all__ = ["HubSpot", "HubSpotConfig"]
