"""Refusals in HubSpot's own shape: {status, message, correlationId, category, errors}."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class HubSpotError(Exception):
    """One refusal. status: HTTP status. details: one entry a faulty value."""

    def __init__(
        self,
        status: int,
        category: str,
        message: str,
        *,
        sub_category: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        context: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.category = category
        self.message = message
        self.sub_category = sub_category
        self.details = [dict(detail) for detail in details]
        self.context = dict(context or {})

    def body(self) -> dict[str, Any]:
        """The body of an answer that consists of this alone."""
        body: dict[str, Any] = {
            "status": "error",
            "message": self.message,
            "correlationId": str(uuid.uuid4()),
            "category": self.category,
        }
        if self.sub_category is not None:
            body["subCategory"] = self.sub_category
        if self.details:
            body["errors"] = self.details
        if self.context:
            body["context"] = self.context
        return body

    def entry(self, trace: str | None = None) -> dict[str, Any]:
        """One of the errors of a batch answered with 207."""
        context = dict(self.context)
        if trace is not None:
            context["objectWriteTraceId"] = [trace]
        entry: dict[str, Any] = {
            "status": "error",
            "category": self.category,
            "message": self.message,
            "context": context,
            "errors": self.details,
            "links": {},
        }
        if self.sub_category is not None:
            entry["subCategory"] = self.sub_category
        return entry


def not_found(ids: Sequence[str] = ()) -> HubSpotError:
    """No such record."""
    if not ids:
        return HubSpotError(404, "OBJECT_NOT_FOUND", "resource not found")
    return HubSpotError(
        404, "OBJECT_NOT_FOUND", "Could not get some objects, they may be deleted or not exist. "
        "Check that ids are valid.", context={"ids": list(ids)},
    )  # fmt: skip


def invalid_values(faults: Sequence[tuple[str, str, str]]) -> HubSpotError:
    """Property values that are refused: (property, code, message) each."""
    shown = msgspec.json.encode(
        [
            {"isValid": False, "message": message, "error": code, "name": name}
            for name, code, message in faults
        ]
    ).decode()
    return HubSpotError(
        400,
        "VALIDATION_ERROR",
        f"Property values were not valid: {shown}",
        details=[
            {"message": message, "code": code, "context": {"propertyName": [name]}}
            for name, code, message in faults
        ],
    )
