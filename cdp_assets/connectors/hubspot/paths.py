"""Addresses of HubSpot's API, version included: the one place to change when v3 ends.

v1 to v4 paths end in September 2027; their successors carry dates (`/crm/objects/2026-03/…`, see
the vendor's "API versioning" page).
"""

from __future__ import annotations

VERSION = "v3"
OBJECTS = f"/crm/{VERSION}/objects"
PROPERTIES = f"/crm/{VERSION}/properties"
SCHEMAS = f"/crm/{VERSION}/schemas"
OWNERS = f"/crm/{VERSION}/owners"
LISTS = f"/crm/{VERSION}/lists"
FORMS = f"/marketing/{VERSION}/forms"
ASSOCIATIONS = "/crm/v4/associations"
SUBMISSIONS = "/form-integrations/v1/submissions/forms"
EMAIL_EVENTS = "/email/public/v1/events"
TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105 (an address)
TOKEN = "/oauth/v1/token"  # noqa: S105 (an address)
