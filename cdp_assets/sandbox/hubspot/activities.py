"""Engagements and survey answers: objects of the CRM like others, with a moment of their own."""

from __future__ import annotations

from collections.abc import Iterable

from cdp_assets.sandbox.hubspot.kinds import ObjectType, Property, enum, number, system, text


def _activity(
    name: str, singular: str, type_id: str, group: str, properties: Iterable[Property], *,
    moment: str = "hs_timestamp", required: tuple[str, ...] = ("hs_timestamp",),
) -> ObjectType:  # fmt: skip
    return ObjectType(
        name=name, singular=singular, type_id=type_id, created="hs_createdate",
        defaults=("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
        properties=(
            Property(name=moment, label="Activity date", type="datetime", field_type="date",
                     group=group),
            *properties, *system(group, "hs_lastmodifieddate", "hs_createdate"),
        ),
        required=required,
    )  # fmt: skip


CALLS = _activity("calls", "call", "0-48", "call", (
    *text("hs_call_title", "hs_call_body", "hs_activity_type", "hs_call_disposition", group="call"),
    enum("hs_call_direction", ("INBOUND", "OUTBOUND"), "call"),
    enum("hs_call_status", ("COMPLETED", "NO_ANSWER", "BUSY", "FAILED", "QUEUED"), "call"),
    number("hs_call_duration", "Call duration", "call"),
))  # fmt: skip
EMAILS = _activity("emails", "email", "0-49", "email", (
    *text("hs_email_subject", "hs_email_text", "hs_email_from_email", "hs_email_to_email",
          group="email"),
    enum("hs_email_direction", ("EMAIL", "INCOMING_EMAIL", "FORWARDED_EMAIL"), "email"),
    enum("hs_email_status", ("SENT", "BOUNCED", "FAILED", "SCHEDULED", "SENDING"), "email"),
))  # fmt: skip
MEETINGS = _activity("meetings", "meeting", "0-47", "meeting", (
    *text("hs_meeting_title", "hs_meeting_body", "hs_activity_type", group="meeting"),
    enum("hs_meeting_outcome", ("SCHEDULED", "COMPLETED", "NO_SHOW", "CANCELED"), "meeting"),
    *(Property(name=n, label=n, type="datetime", field_type="date", group="meeting")
      for n in ("hs_meeting_start_time", "hs_meeting_end_time")),
))  # fmt: skip
NOTES = _activity("notes", "note", "0-46", "note", text("hs_note_body", group="note"))
TASKS = _activity("tasks", "task", "0-27", "task", (
    *text("hs_task_subject", "hs_task_body", group="task"),
    enum("hs_task_status", ("NOT_STARTED", "IN_PROGRESS", "WAITING", "COMPLETED", "DEFERRED"),
         "task"),
    enum("hs_task_priority", ("NONE", "LOW", "MEDIUM", "HIGH"), "task"),
    enum("hs_task_type", ("TODO", "CALL", "EMAIL"), "task"),
    Property(name="cdp_marker", label="CDP marker", group="task", unique=True, vendor=False),
))  # fmt: skip
ANSWERS = _activity("feedback_submissions", "feedback_submission", "0-19", "feedback", (
    *text("hs_survey_name", "hs_survey_type", "hs_content", group="feedback"),
    number("hs_value", "Rating", "feedback"),
    enum("hs_response_group", ("PROMOTER", "PASSIVE", "DETRACTOR"), "feedback"),
), moment="hs_submission_timestamp", required=())  # fmt: skip
CONVERSATIONS = _activity(
    "conversations", "conversation", "0-11", "conversation", (), required=()
)  # fmt: skip
ACTIVITIES = (CALLS, EMAILS, MEETINGS, NOTES, TASKS, ANSWERS, CONVERSATIONS)
