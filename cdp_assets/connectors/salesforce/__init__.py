"""Salesforce: pull by SOQL over REST, push by sObject collections."""

from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.connectors.salesforce.connector import Salesforce

__all__ = ["Salesforce", "SalesforceConfig"]
