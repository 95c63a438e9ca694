"""Refusals in Zendesk's own shape: {error, description, details}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ZendeskError(Exception):
    """One refusal. status: HTTP status. details: field → what is wrong with it."""

    def __init__(
        self,
        status: int,
        error: str,
        description: str = "",
        details: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.description = description
        self.details = dict(details or {})

    def body(self) -> dict[str, Any]:
        """The body of an answer that consists of this alone."""
        body: dict[str, Any] = {"error": self.error}
        if self.description:
            body["description"] = self.description
        if self.details:
            body["details"] = self.details
        return body

    def result(self, action: str, key: str | None, index: int) -> dict[str, Any]:
        """The same as the result of one row of a job."""
        told = [d["description"] for found in self.details.values() for d in found]
        return {
            "id": int(key) if key else None,
            "index": index,
            "action": action,
            "success": False,
            "error": f"{self.error}",
            "details": " ".join(told) or self.description,
        }


def not_found() -> ZendeskError:
    """No such record."""
    return ZendeskError(404, "RecordNotFound", "Not found")


def invalid(field: str, error: str, description: str) -> ZendeskError:
    """A value that is refused."""
    found = [{"description": description, "error": error}]
    return ZendeskError(422, "RecordInvalid", "Record validation errors", {field: found})
