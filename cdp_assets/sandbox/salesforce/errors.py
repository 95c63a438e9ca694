"""Refusals in Salesforce's own shape: a list of {message, errorCode, fields}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SalesforceError(Exception):
    """One refusal. status: HTTP status of a request that consists of this alone."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Sequence[str] | None = None,
        duplicates: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = list(fields) if fields is not None else None
        self.duplicates = duplicates

    def body(self) -> list[dict[str, Any]]:
        """The body of an answer that consists of this alone."""
        error: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = self.fields
        if self.duplicates is not None:
            error["duplicateResult"] = self.duplicates
        return [error]

    def row(self) -> dict[str, Any]:
        """The result of one row of a collection."""
        error: dict[str, Any] = {
            "statusCode": self.code, "message": self.message, "fields": self.fields or [],
        }  # fmt: skip
        if self.duplicates is not None:
            error["duplicateResult"] = self.duplicates
        return {"success": False, "errors": [error]}


def not_found() -> SalesforceError:
    """The path or record does not exist."""
    return SalesforceError(404, "NOT_FOUND", "The requested resource does not exist")
