"""Rows of files as records of an entity: `as: ENTITY`, `key: COLUMN`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page
from cdp_assets.connectors.frames import page_rows
from cdp_assets.lake import Lake
from cdp_assets.raw import files, quarantine
from cdp_assets.raw.ingest import write_pages
from cdp_assets.raw.quarantine import Refusal
from cdp_assets.raw.rows import file_format, read_rows
from cdp_assets.raw.tables import raw_table, table_name
from cdp_assets.settings import crash_point


@dataclass
class FilesResult:
    """What one look at a folder of record files did. rows = new + duplicates + quarantined."""

    rows: int = 0
    new: int = 0
    duplicates: int = 0
    quarantined: int = 0
    files: int = 0
    skipped: int = 0
    failed: int = 0
    growing: int = 0
    unchanged: int = 0
    reasons: tuple[str, ...] = ()
    """What was skipped or failed, a line a file."""


def records_from_files(
    lake: Lake,
    source: str,
    pattern: str,
    entity: str,
    key: str | None,
    now: datetime,
    run_id: str,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> FilesResult:
    """Rows of new files into raw/<source>/<entity>.

    The record_id is the text of column `key`, else `<SHA-256 of the file>:<row number>`. Rows have
    no cursor: one equal to its record's latest is a duplicate. delimiter, encoding: see
    `raw.rows.read_rows`. A file that cannot be read to its
    end is noted as failed and nothing of it is taken (without a key, its corrected copy would bring
    the same rows under other ids); the others go on.
    """
    step = f"raw/{source}/{table_name(entity)}"
    result = FilesResult()
    with lake.step(step):
        scan = files.find(lake, source, pattern, now)
        result.skipped = sum(n.state in {"same_bytes", "empty"} for n in scan.skipped)
        result.failed = sum(n.state == "failed" for n in scan.skipped)
        result.growing, result.unchanged = len(scan.growing), scan.unchanged
        reasons = [f"{n.file.path}: {n.state}: {n.reason}" for n in scan.skipped if n.reason]
        files.note(lake, scan.skipped)
        for file in scan.new:
            outcome = _one_file(
                lake, step, file, entity, key, now, run_id, delimiter, encoding, result
            )
            if outcome.state == "failed":
                result.failed += 1
                reasons.append(f"{file.path}: failed: {outcome.reason}")
            files.note(lake, [outcome])
            result.files += 1
        result.reasons = tuple(reasons)
    return result


def _one_file(
    lake: Lake,
    step: str,
    file: files.FoundFile,
    entity: str,
    key: str | None,
    now: datetime,
    run_id: str,
    delimiter: str | None,
    encoding: str | None,
    result: FilesResult,
) -> files.FileNote:
    refused: list[Refusal] = []

    def pages() -> Iterator[Page]:
        for batch in read_rows(file.path, delimiter=delimiter, encoding=encoding):
            refused.extend(batch.refused)
            rows = batch.rows
            if key is not None:
                ids = _keys(file.path, rows, key)
                missing = ids.is_null()
                refused.extend(
                    Refusal(number, "no_key", f"its key `{key}` is empty", payload.encode())
                    for number, payload in rows.filter(missing).iter_rows()
                )
                rows, ids = rows.filter(~missing), ids.filter(~missing)
            else:
                ids = pl.Series([f"{file.sha256}:{number}" for number in rows["row_number"]])
            none = pl.Series("cursor_at", [None] * rows.height, dtype=pl.Datetime("us", "UTC"))
            yield Page(page_rows(ids.to_list(), none, "upsert", None, rows["payload"]))

    try:
        kind = file_format(file.path)
        for _ in pages():
            pass
    except files.UnreadableFile as error:
        return files.FileNote(file, "failed", reason=error.reason)
    refused.clear()
    done = write_pages(
        lake.open(raw_table(file.source, entity)),
        pages(),
        source=file.source,
        object_name=entity,
        now=now,
        window=file.sha256,
        run_id=run_id,
        payload_format=kind,
    )
    rows = done.rows + len(refused)
    quarantine.add(lake, quarantine.frame(step, file.sha256, refused, file.first_seen))
    crash_point("files:after-data")
    result.rows += rows
    result.new += done.new
    result.duplicates += done.duplicates
    result.quarantined += len(refused)
    return files.FileNote(file, "ingested" if rows else "empty", rows=rows)


def _keys(path: str, rows: pl.DataFrame, key: str) -> pl.Series:
    """The key's value of each row as text; null where it is null, empty or no plain value."""
    if rows.is_empty():
        return pl.Series("record_id", [], dtype=pl.String)
    holder = msgspec.defstruct(
        "Holder", [("key", msgspec.Raw, msgspec.Raw(b""))], rename={"key": key}
    )
    decode = msgspec.json.Decoder(holder).decode
    raws = [bytes(decode(payload).key) for payload in rows["payload"]]  # type: ignore[attr-defined]
    if not any(raws):
        first = msgspec.json.decode(rows["payload"][0], type=dict[str, msgspec.Raw])
        # the file's own names are left out: without a header they are a customer's values
        raise files.UnreadableFile(
            path,
            f"has no column `{key[:80]}` among its {len(first)}. Correct `key` or `separator`, or "
            "give the file a header",
        )
    return pl.Series("record_id", [_plain(raw) for raw in raws], dtype=pl.String)


def _plain(raw: bytes) -> str | None:
    if not raw or raw == b"null" or raw[:1] in b"{[":
        return None
    if raw[:1] == b'"':
        return msgspec.json.decode(raw, type=str).strip() or None
    return raw.decode()
