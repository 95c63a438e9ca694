"""The objects of the stand-in org, as its administrator set them up."""

from __future__ import annotations

from cdp_assets.sandbox.salesforce.activities import OTHERS
from cdp_assets.sandbox.salesforce.fields import (
    DELETED,
    ID,
    OWNER,
    SYSTEM,
    Field,
    SObject,
    address,
    computed_name,
    link,
    location,
    master,
    number,
    of,
    pick,
    text,
)
from cdp_assets.sandbox.world.pools import INDUSTRIES

_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Product", "Other")
_INDUSTRY = pick("Industry", "Industry", INDUSTRIES)
_TYPES = ("Prospect", "Customer", "Partner", "Other")
_PERSON_CUSTOM = (
    text("CDP_Id__c", "CDP Id", 40, external_id=True, unique=True, id_lookup=True),
    number("Revenue_90d__c", "Revenue, last 90 days", "currency", 2),
    number("Orders__c", "Orders"),
    of("datetime", "Last_Seen__c", "Last Seen"),
    number("Events_30d__c", "Events, last 30 days"),
    text("Top_Feature__c", "Top Feature", 80),
    of("boolean", "Active__c", "Active", default=False, nillable=False),
)


ACCOUNT = SObject(
    name="Account", label="Account", plural="Accounts", prefix="001", mergeable=True,
    fields=(
        ID, DELETED, master("Account"),
        text("Name", "Account Name", required=True, nillable=False, name_field=True),
        pick("Type", "Account Type", _TYPES, length=40),
        link("ParentId", "Parent Account ID", "Account", "Parent"),
        *address("Billing", "Billing"),
        of("phone", "Phone", "Account Phone", 40), text("AccountNumber", "Account Number", 40),
        of("url", "Website", "Website", 255), pick("Industry", "Industry", INDUSTRIES, length=40),
        number("AnnualRevenue", "Annual Revenue", "currency"),
        Field(name="NumberOfEmployees", type="int", label="Employees"),
        of("textarea", "Description", "Description", 32000, filterable=False),
        OWNER, *SYSTEM,
        text("Workspace_Id__c", "Workspace Id", 40, external_id=True, id_lookup=True),
        text("CDP_Id__c", "CDP Id", 40, external_id=True, unique=True, id_lookup=True),
        pick("Plan__c", "Plan", ("trial", "team", "enterprise")),
        number("MRR__c", "MRR", "currency", 2), number("Active_Users__c", "Active Users"),
        of("multipicklist", "Segments__c", "Segments", 4099,
            options=("retail", "public", "health", "finance")),
        Field(name="Health__c", type="percent", label="Health", precision=5, scale=2),
        of("time", "Opens_At__c", "Opens At"), *location("Office__c", "Office"),
    ),
)  # fmt: skip
CONTACT = SObject(
    name="Contact", label="Contact", plural="Contacts", prefix="003", mergeable=True,
    fields=(
        ID, DELETED, master("Contact"), link("AccountId", "Account ID", "Account", "Account"),
        text("LastName", "Last Name", 80, required=True, nillable=False, compound="Name"),
        text("FirstName", "First Name", 40, compound="Name"),
        pick("Salutation", "Salutation", ("Mr.", "Ms.", "Dr.", "Prof."), compound="Name",
              length=40),
        computed_name(), *address("Mailing", "Mailing"),
        of("phone", "Phone", "Business Phone", 40), of("phone", "MobilePhone", "Mobile", 40),
        link("ReportsToId", "Reports To ID", "Contact", "ReportsTo"),
        of("email", "Email", "Email", 80, id_lookup=True), text("Title", "Title", 128),
        text("Department", "Department", 80), pick("LeadSource", "Lead Source", _SOURCES),
        of("textarea", "Description", "Contact Description", 32000, filterable=False),
        of("boolean", "HasOptedOutOfEmail", "Email Opt Out", default=False, nillable=False),
        OWNER, *SYSTEM,
        text("App_User_Id__c", "App User Id", 40, external_id=True, id_lookup=True),
        text("Account_Plan__c", "Account Plan", 1300, createable=False, updateable=False,
             formula=("AccountId", "Plan__c")),
        *_PERSON_CUSTOM,
    ),
)  # fmt: skip
LEAD = SObject(
    name="Lead", label="Lead", plural="Leads", prefix="00Q", mergeable=True,
    fields=(
        ID, DELETED, master("Lead"),
        text("LastName", "Last Name", 80, required=True, nillable=False, compound="Name"),
        text("FirstName", "First Name", 40, compound="Name"), computed_name(),
        text("Title", "Title", 128),
        text("Company", "Company", required=True, nillable=False),
        text("City", "City", 40), text("State", "State/Province", 80),
        text("Country", "Country", 80), of("phone", "Phone", "Phone", 40),
        of("phone", "MobilePhone", "Mobile", 40),
        of("email", "Email", "Email", 80, id_lookup=True), of("url", "Website", "Website", 255),
        of("textarea", "Description", "Description", 32000, filterable=False),
        pick("LeadSource", "Lead Source", _SOURCES),
        pick(
            "Status", "Status", (
                "Open - Not Contacted", "Working - Contacted", "Closed - Converted",
                "Closed - Not Converted",
            ), default="Open - Not Contacted", nillable=False,
        ),
        _INDUSTRY,
        pick("Rating", "Rating", ("Hot", "Warm", "Cold")),
        of("boolean", "HasOptedOutOfEmail", "Email Opt Out", default=False, nillable=False),
        of("boolean", "IsConverted", "Converted", default=False,
            updateable=False, nillable=False),
        of("date", "ConvertedDate", "Converted Date", createable=False, updateable=False),
        link("ConvertedAccountId", "Converted Account ID", "Account", "ConvertedAccount",
              createable=False, updateable=False),
        link("ConvertedContactId", "Converted Contact ID", "Contact", "ConvertedContact",
              createable=False, updateable=False),
        link("ConvertedOpportunityId", "Converted Opportunity ID", "Opportunity",
              "ConvertedOpportunity", createable=False, updateable=False),
        OWNER, *SYSTEM, *_PERSON_CUSTOM,
    ),
)  # fmt: skip
OPPORTUNITY = SObject(
    name="Opportunity", label="Opportunity", plural="Opportunities", prefix="006",
    fields=(
        ID, DELETED, link("AccountId", "Account ID", "Account", "Account"),
        text("Name", "Name", 120, required=True, nillable=False, name_field=True,
              id_lookup=True),
        of("textarea", "Description", "Description", 32000, filterable=False),
        pick("StageName", "Stage", (
            "Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review",
            "Closed Won", "Closed Lost",
        ), required=True, nillable=False),
        number("Amount", "Amount", "currency", 2),
        Field(name="Probability", type="percent", label="Probability (%)", precision=3),
        of("date", "CloseDate", "Close Date", required=True, nillable=False),
        pick("Type", "Opportunity Type", ("New Business", "Existing Business")),
        pick("LeadSource", "Lead Source", _SOURCES),
        of("boolean", "IsClosed", "Closed", default=False, createable=False, updateable=False,
            nillable=False),
        of("boolean", "IsWon", "Won", default=False, createable=False, updateable=False,
            nillable=False),
        link("ContactId", "Contact ID", "Contact", None, updateable=False),
        pick("Loss_Reason__c", "Loss Reason", ("Price", "Features", "Timing", "No decision")),
        OWNER, *SYSTEM,
    ),
)  # fmt: skip
TASK = SObject(
    name="Task", label="Task", plural="Tasks", prefix="00T",
    fields=(
        ID, DELETED, link("WhoId", "Name ID", "Contact Lead", "Who"),
        link("WhatId", "Related To ID", "Account Opportunity Case", "What"),
        text("Subject", "Subject", name_field=True),
        of("date", "ActivityDate", "Due Date Only"),
        pick("Status", "Status", ("Not Started", "In Progress", "Completed"),
              default="Not Started", nillable=False),
        pick("Priority", "Priority", ("High", "Normal", "Low"), default="Normal", nillable=False),
        pick("TaskSubtype", "Task Subtype", ("Task", "Email", "Call"), default="Task",
              updateable=False),
        pick("CallType", "Call Type", ("Inbound", "Outbound", "Internal")),
        Field(name="CallDurationInSeconds", type="int", label="Call Duration"),
        of("textarea", "Description", "Description", 32000, filterable=False),
        of("boolean", "IsClosed", "Closed", default=False, createable=False, updateable=False,
            nillable=False),
        link("AccountId", "Account ID", "Account", "Account", createable=False,
              updateable=False),
        OWNER, *SYSTEM,
    ),
)  # fmt: skip
SUBSCRIPTION = SObject(
    name="Subscription__c", label="Subscription", plural="Subscriptions", prefix="a00",
    fields=(
        ID, OWNER, DELETED, text("Name", "Subscription", 80, name_field=True), *SYSTEM,
        link("Account__c", "Account", "Account", "Account__r"),
        number("MRR__c", "MRR", "currency", 2),
        pick("Status__c", "Status", ("trial", "active", "past_due", "canceled")),
        of("date", "Started_On__c", "Started On"), of("date", "Ended_On__c", "Ended On"),
        text("Billing_Id__c", "Billing Id", 40, external_id=True, unique=True, id_lookup=True),
    ),
)  # fmt: skip
USER = SObject(
    name="User", label="User", plural="Users", prefix="005", writable=False,
    fields=(
        ID, text("Username", "Username", 80), text("LastName", "Last Name", 80),
        text("FirstName", "First Name", 40), computed_name(), of("email", "Email", "Email", 128),
        of("boolean", "IsActive", "Active", nillable=False), *SYSTEM,
    ),
)  # fmt: skip
ORGANIZATION = SObject(
    name="Organization", label="Organization", plural="Organizations", prefix="00D",
    writable=False,
    fields=(
        ID, text("Name", "Name", 80, name_field=True),
        text("OrganizationType", "Edition", 40), text("InstanceName", "Instance Name", 5),
        of("boolean", "IsSandbox", "Is Sandbox", nillable=False),
        text("TimeZoneSidKey", "Time Zone", 40), *SYSTEM,
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
        *OTHERS,
    )
}
"""Lower-case name → object."""

PREFIXES = {o.prefix: o for o in OBJECTS.values()}
"""Key prefix → object."""
