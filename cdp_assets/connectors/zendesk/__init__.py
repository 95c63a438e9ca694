"""Zendesk Support: pull by incremental exports, push by jobs."""

from cdp_assets.connectors.zendesk.config import ZendeskConfig
from cdp_assets.connectors.zendesk.connector import Zendesk

__all__ = ["Zendesk", "ZendeskConfig"]
