"""Refusals in SugarCRM's own shape: {error, error_message}."""

from __future__ import annotations


class SugarError(Exception):
    """One refusal. status: HTTP status. error: its name."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message

    def body(self) -> dict[str, str]:
        """The body of an answer that consists of this alone."""
        return {"error": self.error, "error_message": self.message}


def not_found(module: str, key: str) -> SugarError:
    """No such record."""
    return SugarError(404, "not_found", f"Could not find record: {key} in module: {module}")


def bad_parameter(message: str) -> SugarError:
    """A value or an argument that is refused."""
    return SugarError(422, "invalid_parameter", message)
