"""A stand-in for Salesforce's REST API: OAuth, describe, SOQL, records, collections, composite."""
