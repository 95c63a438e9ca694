"""The objects of the stand-in org and their fields, as its administrator set them up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cdp_assets.sandbox.world.pools import INDUSTRIES


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field. type: Salesforce's own word for it, as describe says it."""

    name: str
    type: str
    label: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    createable: bool = True
    updateable: bool = True
    nillable: bool = True
    options: tuple[str, ...] = ()
    restricted: bool = False
    references: tuple[str, ...] = ()
    relationship: str | None = None
    external_id: bool = False
    unique: bool = False
    id_lookup: bool = False
    filterable: bool = True
    name_field: bool = False
    compound: str | None = None
    default: object = None

    @property
    def custom(self) -> bool:
        """Whether the administrator added it."""
        return self.name.endswith("__c")


@dataclass(frozen=True, kw_only=True)
class SObject:
    """One object."""

    name: str
    label: str
    plural: str
    prefix: str
    fields: tuple[Field, ...]
    writable: bool = True
    mergeable: bool = False

    @property
    def custom(self) -> bool:
        """Whether the administrator added it."""
        return self.name.endswith("__c")

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Lower-case field name → field: Salesforce's names know no case."""
        return {f.name.lower(): f for f in self.fields}

    @cached_property
    def by_relationship(self) -> dict[str, Field]:
        """Lower-case relationship name (`account`, `account__r`) → reference field."""
        return {f.relationship.lower(): f for f in self.fields if f.relationship}

    @cached_property
    def required(self) -> tuple[Field, ...]:
        """Fields that a new record must bring."""
        return tuple(f for f in self.fields if f.required)


def _text(name: str, label: str, length: int = 255, **more: object) -> Field:
    return Field(name=name, type="string", label=label, length=length, **more)  # type: ignore[arg-type]


def _pick(
    name: str, label: str, options: Iterable[str], length: int = 255, **more: object
) -> Field:
    return Field(
        name=name, type="picklist", label=label, length=length, options=tuple(options),
        restricted=name.endswith("__c"), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _number(name: str, label: str, kind: str = "double", scale: int = 0, **more: object) -> Field:
    return Field(name=name, type=kind, label=label, precision=18, scale=scale, **more)  # type: ignore[arg-type]


def _link(name: str, label: str, to: str, relationship: str | None, **more: object) -> Field:
    return Field(
        name=name, type="reference", label=label, length=18, references=tuple(to.split()),
        relationship=relationship, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _of(kind: str, name: str, label: str, length: int = 0, **more: object) -> Field:
    return Field(name=name, type=kind, label=label, length=length, **more)  # type: ignore[arg-type]


def _stamp(name: str, label: str) -> Field:
    return Field(
        name=name, type="datetime", label=label, createable=False, updateable=False, nillable=False
    )


def _who(name: str, label: str, relationship: str) -> Field:
    return _link(
        name, label, "User", relationship, createable=False, updateable=False, nillable=False
    )


_ID = Field(
    name="Id", type="id", label="Record ID", length=18, createable=False, updateable=False,
    nillable=False, id_lookup=True,
)  # fmt: skip
_DELETED = Field(
    name="IsDeleted", type="boolean", label="Deleted", createable=False, updateable=False,
    nillable=False, default=False,
)  # fmt: skip
_OWNER = _link("OwnerId", "Owner ID", "User", "Owner", nillable=False)
_SYSTEM = (
    _stamp("CreatedDate", "Created Date"),
    _who("CreatedById", "Created By ID", "CreatedBy"),
    _stamp("LastModifiedDate", "Last Modified Date"),
    _who("LastModifiedById", "Last Modified By ID", "LastModifiedBy"),
    _stamp("SystemModstamp", "System Modstamp"),
)
_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Product", "Other")
_INDUSTRY = _pick("Industry", "Industry", INDUSTRIES)
_TYPES = ("Prospect", "Customer", "Partner", "Other")
_PERSON_CUSTOM = (
    _text("CDP_Id__c", "CDP Id", 40, external_id=True, unique=True, id_lookup=True),
    _number("Revenue_90d__c", "Revenue, last 90 days", "currency", 2),
    _number("Orders__c", "Orders"),
    _of("datetime", "Last_Seen__c", "Last Seen"),
    _number("Events_30d__c", "Events, last 30 days"),
    _text("Top_Feature__c", "Top Feature", 80),
    _of("boolean", "Active__c", "Active", default=False, nillable=False),
)


def _computed_name(length: int = 121) -> Field:
    return _text(
        "Name", "Full Name", length, createable=False, updateable=False, nillable=False,
        name_field=True,
    )  # fmt: skip


def _master(name: str) -> Field:
    return _link(
        "MasterRecordId", "Master Record ID", name, "MasterRecord", createable=False,
        updateable=False,
    )  # fmt: skip


ACCOUNT = SObject(
    name="Account", label="Account", plural="Accounts", prefix="001", mergeable=True,
    fields=(
        _ID, _DELETED, _master("Account"),
        _text("Name", "Account Name", required=True, nillable=False, name_field=True),
        _pick("Type", "Account Type", _TYPES, length=40),
        _link("ParentId", "Parent Account ID", "Account", "Parent"),
        _of("textarea", "BillingStreet", "Billing Street", 255),
        _text("BillingCity", "Billing City", 40), _text("BillingState", "Billing State", 80),
        _text("BillingPostalCode", "Billing Zip", 20),
        _text("BillingCountry", "Billing Country", 80),
        _of("phone", "Phone", "Account Phone", 40), _text("AccountNumber", "Account Number", 40),
        _of("url", "Website", "Website", 255), _pick("Industry", "Industry", INDUSTRIES, length=40),
        _number("AnnualRevenue", "Annual Revenue", "currency"),
        Field(name="NumberOfEmployees", type="int", label="Employees"),
        _of("textarea", "Description", "Description", 32000, filterable=False),
        _OWNER, *_SYSTEM,
        _text("Workspace_Id__c", "Workspace Id", 40, external_id=True, id_lookup=True),
        _text("CDP_Id__c", "CDP Id", 40, external_id=True, unique=True, id_lookup=True),
        _pick("Plan__c", "Plan", ("trial", "team", "enterprise")),
        _number("MRR__c", "MRR", "currency", 2), _number("Active_Users__c", "Active Users"),
    ),
)  # fmt: skip
CONTACT = SObject(
    name="Contact", label="Contact", plural="Contacts", prefix="003", mergeable=True,
    fields=(
        _ID, _DELETED, _master("Contact"), _link("AccountId", "Account ID", "Account", "Account"),
        _text("LastName", "Last Name", 80, required=True, nillable=False, compound="Name"),
        _text("FirstName", "First Name", 40, compound="Name"),
        _pick("Salutation", "Salutation", ("Mr.", "Ms.", "Dr.", "Prof."), compound="Name",
              length=40),
        _computed_name(), _of("textarea", "MailingStreet", "Mailing Street", 255),
        _text("MailingCity", "Mailing City", 40), _text("MailingState", "Mailing State", 80),
        _text("MailingPostalCode", "Mailing Zip", 20),
        _text("MailingCountry", "Mailing Country", 80),
        _of("phone", "Phone", "Business Phone", 40), _of("phone", "MobilePhone", "Mobile", 40),
        _link("ReportsToId", "Reports To ID", "Contact", "ReportsTo"),
        _of("email", "Email", "Email", 80, id_lookup=True), _text("Title", "Title", 128),
        _text("Department", "Department", 80), _pick("LeadSource", "Lead Source", _SOURCES),
        _of("textarea", "Description", "Contact Description", 32000, filterable=False),
        _of("boolean", "HasOptedOutOfEmail", "Email Opt Out", default=False, nillable=False),
        _OWNER, *_SYSTEM,
        _text("App_User_Id__c", "App User Id", 40, external_id=True, id_lookup=True),
        *_PERSON_CUSTOM,
    ),
)  # fmt: skip
LEAD = SObject(
    name="Lead", label="Lead", plural="Leads", prefix="00Q", mergeable=True,
    fields=(
        _ID, _DELETED, _master("Lead"),
        _text("LastName", "Last Name", 80, required=True, nillable=False, compound="Name"),
        _text("FirstName", "First Name", 40, compound="Name"), _computed_name(),
        _text("Title", "Title", 128),
        _text("Company", "Company", required=True, nillable=False),
        _text("City", "City", 40), _text("State", "State/Province", 80),
        _text("Country", "Country", 80), _of("phone", "Phone", "Phone", 40),
        _of("phone", "MobilePhone", "Mobile", 40),
        _of("email", "Email", "Email", 80, id_lookup=True), _of("url", "Website", "Website", 255),
        _of("textarea", "Description", "Description", 32000, filterable=False),
        _pick("LeadSource", "Lead Source", _SOURCES),
        _pick(
            "Status", "Status", (
                "Open - Not Contacted", "Working - Contacted", "Closed - Converted",
                "Closed - Not Converted",
            ), default="Open - Not Contacted", nillable=False,
        ),
        _INDUSTRY,
        _pick("Rating", "Rating", ("Hot", "Warm", "Cold")),
        _of("boolean", "HasOptedOutOfEmail", "Email Opt Out", default=False, nillable=False),
        _of("boolean", "IsConverted", "Converted", default=False,
            updateable=False, nillable=False),
        _of("date", "ConvertedDate", "Converted Date", createable=False, updateable=False),
        _link("ConvertedAccountId", "Converted Account ID", "Account", "ConvertedAccount",
              createable=False, updateable=False),
        _link("ConvertedContactId", "Converted Contact ID", "Contact", "ConvertedContact",
              createable=False, updateable=False),
        _link("ConvertedOpportunityId", "Converted Opportunity ID", "Opportunity",
              "ConvertedOpportunity", createable=False, updateable=False),
        _OWNER, *_SYSTEM, *_PERSON_CUSTOM,
    ),
)  # fmt: skip
OPPORTUNITY = SObject(
    name="Opportunity", label="Opportunity", plural="Opportunities", prefix="006",
    fields=(
        _ID, _DELETED, _link("AccountId", "Account ID", "Account", "Account"),
        _text("Name", "Name", 120, required=True, nillable=False, name_field=True,
              id_lookup=True),
        _of("textarea", "Description", "Description", 32000, filterable=False),
        _pick("StageName", "Stage", (
            "Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review",
            "Closed Won", "Closed Lost",
        ), required=True, nillable=False),
        _number("Amount", "Amount", "currency", 2),
        Field(name="Probability", type="percent", label="Probability (%)", precision=3),
        _of("date", "CloseDate", "Close Date", required=True, nillable=False),
        _pick("Type", "Opportunity Type", ("New Business", "Existing Business")),
        _pick("LeadSource", "Lead Source", _SOURCES),
        _of("boolean", "IsClosed", "Closed", default=False, createable=False, updateable=False,
            nillable=False),
        _of("boolean", "IsWon", "Won", default=False, createable=False, updateable=False,
            nillable=False),
        _link("ContactId", "Contact ID", "Contact", None, updateable=False),
        _OWNER, *_SYSTEM,
    ),
)  # fmt: skip
TASK = SObject(
    name="Task", label="Task", plural="Tasks", prefix="00T",
    fields=(
        _ID, _DELETED, _link("WhoId", "Name ID", "Contact Lead", "Who"),
        _link("WhatId", "Related To ID", "Account Opportunity", "What"),
        _text("Subject", "Subject", name_field=True),
        _of("date", "ActivityDate", "Due Date Only"),
        _pick("Status", "Status", ("Not Started", "In Progress", "Completed"),
              default="Not Started", nillable=False),
        _pick("Priority", "Priority", ("High", "Normal", "Low"), default="Normal", nillable=False),
        _pick("TaskSubtype", "Task Subtype", ("Task", "Email", "Call"), default="Task",
              updateable=False),
        _pick("CallType", "Call Type", ("Inbound", "Outbound", "Internal")),
        Field(name="CallDurationInSeconds", type="int", label="Call Duration"),
        _of("textarea", "Description", "Description", 32000, filterable=False),
        _of("boolean", "IsClosed", "Closed", default=False, createable=False, updateable=False,
            nillable=False),
        _link("AccountId", "Account ID", "Account", "Account", createable=False,
              updateable=False),
        _OWNER, *_SYSTEM,
    ),
)  # fmt: skip
SUBSCRIPTION = SObject(
    name="Subscription__c", label="Subscription", plural="Subscriptions", prefix="a00",
    fields=(
        _ID, _OWNER, _DELETED, _text("Name", "Subscription", 80, name_field=True), *_SYSTEM,
        _link("Account__c", "Account", "Account", "Account__r"),
        _number("MRR__c", "MRR", "currency", 2),
        _pick("Status__c", "Status", ("trial", "active", "past_due", "canceled")),
        _of("date", "Started_On__c", "Started On"), _of("date", "Ended_On__c", "Ended On"),
        _text("Billing_Id__c", "Billing Id", 40, external_id=True, unique=True, id_lookup=True),
    ),
)  # fmt: skip
USER = SObject(
    name="User", label="User", plural="Users", prefix="005", writable=False,
    fields=(
        _ID, _text("Username", "Username", 80), _text("LastName", "Last Name", 80),
        _text("FirstName", "First Name", 40), _computed_name(), _of("email", "Email", "Email", 128),
        _of("boolean", "IsActive", "Active", nillable=False), *_SYSTEM,
    ),
)  # fmt: skip
ORGANIZATION = SObject(
    name="Organization", label="Organization", plural="Organizations", prefix="00D",
    writable=False,
    fields=(
        _ID, _text("Name", "Name", 80, name_field=True),
        _text("OrganizationType", "Edition", 40), _text("InstanceName", "Instance Name", 5),
        _of("boolean", "IsSandbox", "Is Sandbox", nillable=False),
        _text("TimeZoneSidKey", "Time Zone", 40), *_SYSTEM,
    ),
)  # fmt: skip
OBJECTS = {
    o.name.lower(): o
    for o in (
        ACCOUNT,
        CONTACT,
        LEAD,
        OPPORTUNITY,
        TASK,
        SUBSCRIPTION,
        USER,
        ORGANIZATION,
    )
}
"""Lower-case name → object."""

PREFIXES = {o.prefix: o for o in OBJECTS.values()}
"""Key prefix → object."""
