"""Errors whose text was written to be read by anyone: no personal value, no secret."""

from __future__ import annotations

from cdp_assets.connectors.base import ConnectorError
from cdp_assets.deployment.alerts import AlertError
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.lake import LakeError
from cdp_assets.profiles.errors import ExpressionError, TraitError
from cdp_assets.raw.files import UnreadableFile
from cdp_assets.store import StoreError
from cdp_assets.syncs.approval import ApprovalError
from cdp_assets.syncs.check import SyncError
from cdp_assets.up import StartError

SAFE_ERRORS: tuple[type[Exception], ...] = (
    AlertError,
    ConnectorError,
    LakeError,
    StoreError,
    ConfigurationError,
    StartError,
    ApprovalError,
    SyncError,
    ExpressionError,
    TraitError,
    UnreadableFile,
)
