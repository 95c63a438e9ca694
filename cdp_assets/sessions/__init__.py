"""Visits: sessions and page views of devices, where they came from, and whose they are."""

from cdp_assets.sessions.accounting import Account, account
from cdp_assets.sessions.build import SessionsResult, build
from cdp_assets.sessions.config import SessionsConfig
from cdp_assets.sessions.read import page_views, sessions, touches
from cdp_assets.sessions.tables import PAGE_VIEWS, SESSIONS

__all__ = [
    "PAGE_VIEWS",
    "SESSIONS",
    "Account",
    "SessionsConfig",
    "SessionsResult",
    "account",
    "build",
    "page_views",
    "sessions",
    "touches",
]
