"""Which of an org's objects make sense as a stream, where all are asked for (`objects: all`).

Those that the user may query, that tell when they change (`replicateable`) and that are not on
their way out. Left out besides is what hangs on other objects and holds no record of its own
(sharing rows, feeds, tags, change events), and the org's own machinery: code, permissions, layouts,
sign-ins, settings. Rules: "Describe Global" in Salesforce's REST API Developer Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cdp_assets.connectors.salesforce.describe import SalesforceName

FIRST = ("Account", "Contact", "Lead", "Opportunity")
"""What is pulled of an org that was not described yet."""
_HANGS_ON = frozenset({"Share", "Feed", "ChangeEvent", "Tag", "OwnerSharingRule", "TeamTemplate"})
_ENDS = re.compile(
    r"(__(Share|Feed|Tag|ChangeEvent|e|mdt|b|x|kav|hd|ViewStat|VoteStat)"
    r"|Share|Feed|ChangeEvent|Tag|OwnerSharingRule|Permission|Settings)$"
)
_OWN = re.compile(r"__(c|History)$")
_BEGINS = re.compile(
    r"(Apex|Aura|AI|App(Menu|Definition)|Async|Auth(Config|Provider|Session)|Background|Brand|"
    r"CronTrigger|CronJob|Custom(Brand|Permission|Notification)|DataType|Dashboard|Datacloud|"
    r"Domain|Duplicate|Entity(Definition|Particle)|EventLog|ExternalEvent|Field(Definition|Perm|"
    r"Security)|Flow|FormulaFunction|IframeWhite|Installed|LightningU|ListView|Login|Matching|"
    r"MobileApp|MutingPerm|NamedCred|OauthToken|ObjectPerm|Package|Permission|PlatformCache|"
    r"Process(Def|Node)|Profile$|Publisher|QuickText|Recommendation|RecordAction|RelationshipInfo|"
    r"Report$|SamlSso|SearchLayout|SecureAgent|SessionPerm|Setup|StaticResource|Stamp|Streaming|"
    r"Tab(Def)|TestSuite|Transaction|UiFormula|UserApp|UserPackage|UserPermission|UserRecord|"
    r"UserSetup|VerificationHistory|Visualforce|WaveAuto|WaveComp|WebLink)"
)  # fmt: skip


def streams(objects: Iterable[SalesforceName]) -> tuple[str, ...]:
    """The names of the objects to be pulled, in their order."""
    return tuple(sorted(item.name for item in objects if _makes_sense(item)))


def _makes_sense(item: SalesforceName) -> bool:
    open_ = item.queryable and item.replicateable and not item.deprecated_and_hidden
    if not open_ or item.custom_setting or item.associate_entity_type in _HANGS_ON:
        return False
    if _OWN.search(item.name):
        return True
    return not (_ENDS.search(item.name) or _BEGINS.match(item.name))
