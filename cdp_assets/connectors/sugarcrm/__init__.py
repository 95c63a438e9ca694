"""SugarCRM: pull by filters in the order of date and id, push by bulk requests."""

from cdp_assets.connectors.sugarcrm.config import SugarCRMConfig
from cdp_assets.connectors.sugarcrm.connector import SugarCRM

__all__ = ["SugarCRM", "SugarCRMConfig"]
