"""CSV as Bulk API 2.0 writes and reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cdp_assets.sandbox.salesforce.errors import SalesforceError

DELIMITERS: Mapping[str, str] = {
    "BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t",
}  # fmt: skip
LINE_ENDINGS: Mapping[str, str] = {"LF": "\n", "CRLF": "\r\n"}
_DOUBLES = frozenset({"double", "currency", "percent"})
# Long texts are no mistake here: a description holds 32,000 characters.
csv.field_size_limit(1_000_000)


def cell(kind: str, value: Any) -> str:
    """A field's value as a query job shows it: nothing for null, `12.0` for the number 12, `Z` for
    UTC where REST says `+0000`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind in _DOUBLES:
        return java_double(float(value))
    if kind == "datetime":
        return str(value).replace("+0000", "Z")
    return str(value)


def java_double(number: float) -> str:
    """A double as Java prints it: digits from 0.001 up to 10,000,000, else with an exponent."""
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        return repr(number)
    sign = "-" if number < 0 else ""
    plain, _, power = repr(abs(number)).partition("e")
    whole, _, fraction = plain.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) + len(digits) - len(fraction) - 1
    digits = digits.rstrip("0")
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def written(rows: Iterable[Sequence[str]], header: Sequence[str], delimiter: str, end: str) -> str:
    """A table with everything in quotes, as the real thing writes it."""
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=DELIMITERS[delimiter], lineterminator=LINE_ENDINGS[end],
        quoting=csv.QUOTE_ALL,
    )  # fmt: skip
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def read(data: bytes, delimiter: str, end: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of an uploaded table.

    Raises SalesforceError InvalidBatch for bytes that are none, with the line ending declared.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SalesforceError(400, "InvalidBatch", "Invalid UTF-8") from None
    if end == "LF" and text.partition("\n")[0].endswith("\r"):
        raise SalesforceError(
            400, "InvalidBatch", "LineEnding is invalid on user data. Current LineEnding setting "
            "is LF",
        )  # fmt: skip
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=DELIMITERS[delimiter], strict=True
    )  # fmt: skip
    try:
        rows = [line for line in lines if line]
    except csv.Error:
        raise SalesforceError(400, "InvalidBatch", "Failed to parse CSV") from None
    if not rows:
        raise SalesforceError(400, "InvalidBatch", "Unable to find object header row")
    header, *body = rows
    if any(len(row) != len(header) for row in body):
        raise SalesforceError(
            400, "InvalidBatch", "The number of fields in a record does not match the header"
        )
    return header, body
