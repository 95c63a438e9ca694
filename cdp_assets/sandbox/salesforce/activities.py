"""Further objects of the stand-in org: cases, activities, campaigns, field history, settings."""

from __future__ import annotations

from cdp_assets.sandbox.salesforce.fields import (
    DELETED,
    ID,
    OWNER,
    SYSTEM,
    Field,
    SObject,
    link,
    master,
    of,
    pick,
    stamp,
    text,
    who,
)

_CREATED = (
    who("CreatedById", "Created By ID", "CreatedBy"),
    stamp("CreatedDate", "Created Date"),
)
CASE = SObject(
    name="Case", label="Case", plural="Cases", prefix="500", mergeable=True,
    fields=(
        ID, DELETED, master("Case"),
        link("ContactId", "Contact ID", "Contact", "Contact"),
        link("AccountId", "Account ID", "Account", "Account"),
        text("SuppliedName", "Name", 80), of("email", "SuppliedEmail", "Email Address", 80),
        pick("Type", "Case Type", ("Question", "Problem", "Feature Request"),
             length=40),
        pick("Status", "Status", ("New", "Working", "Escalated", "Closed"),
             length=40, default="New"),
        pick("Reason", "Case Reason", ("Performance", "Breakdown", "Feedback", "Other"),
             length=40),
        pick("Origin", "Case Origin", ("Phone", "Email", "Web"), length=40),
        text("Subject", "Subject"),
        pick("Priority", "Priority", ("High", "Medium", "Low"), length=40, default="Medium"),
        of("textarea", "Description", "Description", 32000, filterable=False),
        of("datetime", "ClosedDate", "Closed Date", createable=False, updateable=False),
        OWNER, *SYSTEM,
    ),
)  # fmt: skip
EVENT = SObject(
    name="Event", label="Event", plural="Events", prefix="00U",
    fields=(
        ID, link("WhoId", "Name ID", "Contact Lead", "Who"),
        link("WhatId", "Related To ID", "Account Opportunity Case", "What"),
        of("combobox", "Subject", "Subject", 255, name_field=True), text("Location", "Location"),
        of("datetime", "ActivityDateTime", "Due Date Time"),
        Field(name="DurationInMinutes", type="int", label="Duration"),
        of("textarea", "Description", "Description", 32000, filterable=False),
        link("AccountId", "Account ID", "Account", "Account", createable=False,
             updateable=False),
        Field(name="EventSubtype", type="picklist", label="Event Subtype", length=40,
              options=("Event",), restricted=True, updateable=False),
        DELETED, OWNER, *SYSTEM,
    ),
)  # fmt: skip
EMAIL_MESSAGE = SObject(
    name="EmailMessage", label="Email Message", plural="Email Messages", prefix="02s",
    fields=(
        ID, DELETED, link("ParentId", "Case ID", "Case", "Parent"),
        link("RelatedToId", "Related To ID", "Account Opportunity Case", "RelatedTo"),
        text("Subject", "Subject", 3000),
        of("textarea", "TextBody", "Text Body", 32000, filterable=False),
        of("email", "FromAddress", "From Address", 1000),
        of("boolean", "Incoming", "Is Incoming", default=False, nillable=False),
        pick("Status", "Status", ("0", "1", "2", "3", "4", "5"), default="0"),
        of("datetime", "MessageDate", "Message Date"), *SYSTEM,
    ),
)  # fmt: skip
CASE_COMMENT = SObject(
    name="CaseComment", label="Case Comment", plural="Case Comments", prefix="00a",
    fields=(
        ID, link("ParentId", "Parent Case ID", "Case", "Parent", required=True),
        of("boolean", "IsPublished", "Published", default=False, nillable=False),
        of("textarea", "CommentBody", "Body", 4000, filterable=False), DELETED, *SYSTEM,
    ),
)  # fmt: skip
CAMPAIGN = SObject(
    name="Campaign", label="Campaign", plural="Campaigns", prefix="701",
    fields=(
        ID, DELETED, text("Name", "Name", 80, required=True, nillable=False, name_field=True),
        pick("Type", "Type", ("Webinar", "Email", "Other")),
        pick("Status", "Status", ("Planned", "In Progress", "Completed"), default="Planned"),
        of("date", "StartDate", "Start Date"), of("date", "EndDate", "End Date"),
        of("boolean", "IsActive", "Active", default=False, nillable=False),
        of("textarea", "Description", "Description", 32000, filterable=False), OWNER, *SYSTEM,
    ),
)  # fmt: skip
CAMPAIGN_MEMBER = SObject(
    name="CampaignMember", label="Campaign Member", plural="Campaign Members", prefix="00v",
    once=("CampaignId", "LeadId", "ContactId"),
    fields=(
        ID, DELETED,
        link("CampaignId", "Campaign ID", "Campaign", "Campaign", required=True,
             updateable=False),
        link("LeadId", "Lead ID", "Lead", "Lead", updateable=False),
        link("ContactId", "Contact ID", "Contact", "Contact", updateable=False),
        pick("Status", "Status", ("Sent", "Responded"), default="Sent"),
        of("boolean", "HasResponded", "Responded", default=False, createable=False,
           updateable=False, nillable=False),
        of("date", "FirstRespondedDate", "First Responded Date", createable=False,
           updateable=False),
        *SYSTEM,
    ),
)  # fmt: skip
GROUP = SObject(
    name="Group", label="Group", plural="Groups", prefix="00G", bulk=False,
    fields=(
        ID, text("Name", "Name", 40, required=True, nillable=False, name_field=True),
        pick("Type", "Type", ("Regular", "Queue"), default="Regular"), *SYSTEM,
    ),
)  # fmt: skip
"""Has no `IsDeleted`: what was deleted shows in no query."""


def _history(name: str, prefix: str, parent: str) -> SObject:
    key = f"{parent}Id"
    return SObject(
        name=name, label=f"{parent} History", plural=f"{parent} History", prefix=prefix,
        writable=False,
        fields=(
            ID, DELETED, link(key, f"{parent} ID", parent, parent), *_CREATED,
            text("Field", "Changed Field"), text("DataType", "Data Type", 40),
            of("anyType", "OldValue", "Old Value", filterable=False),
            of("anyType", "NewValue", "New Value", filterable=False),
        ),
    )  # fmt: skip


CONTACT_HISTORY = _history("ContactHistory", "017", "Contact")
OPPORTUNITY_HISTORY = _history("OpportunityFieldHistory", "01z", "Opportunity")
TRACKED = {
    "Contact": (CONTACT_HISTORY, ("Email", "Title", "OwnerId", "AccountId", "HasOptedOutOfEmail")),
    "Opportunity": (OPPORTUNITY_HISTORY, ("StageName", "Amount", "CloseDate", "OwnerId")),
}
"""Object → where changes of which fields are written down."""
OTHERS = (
    CASE, EVENT, EMAIL_MESSAGE, CASE_COMMENT, CAMPAIGN, CAMPAIGN_MEMBER, GROUP, CONTACT_HISTORY,
    OPPORTUNITY_HISTORY,
)  # fmt: skip
