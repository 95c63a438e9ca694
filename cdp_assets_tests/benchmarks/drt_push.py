"""Run by an interpreter that has drt-core: `drt_push.py URL ROWS`."""

import os
import sys

import drt.destinations.hubspot as hubspot
from drt.config.models import HubSpotDestinationConfig, SyncOptions

url, rows = sys.argv[1], int(sys.argv[2])
# Its address is fixed in the module; nothing else of it is touched.
hubspot._HUBSPOT_API = f"{url}/crm/v3/objects"
hubspot._HUBSPOT_PROPERTIES_API = f"{url}/crm/v3/properties"
os.environ["HUBSPOT_TOKEN"] = "t"
config = HubSpotDestinationConfig.model_validate(
    {
        "type": "hubspot",
        "object_type": "contacts",
        "id_property": "email",
        "auth": {"type": "bearer", "token_env": "HUBSPOT_TOKEN"},
    }
)
records = [{"email": f"p{n}@example.com", "orders": n % 17} for n in range(rows)]
done = hubspot.HubSpotDestination().load(records, config, SyncOptions())
assert done.success == rows, done
