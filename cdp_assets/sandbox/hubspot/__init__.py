"""A stand-in for HubSpot's CRM API v3 and associations v4."""
