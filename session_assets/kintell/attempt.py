"""How a file is read and judged for one attempt of its import, and what must be true of that before a row is written."""

from __future__ import annotations

import codecs
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from session_assets.errors import BadInput, PlanRefused, UsageError
from session_assets.kintell.importing import DEFAULT_BATCH_SIZE
from session_assets.kintell.jobs import UTF_8, Job, Policy
from session_assets.kintell.reader import encoding_of
from session_assets.kintell.users import LookUp
from session_assets.kintell.validation import Validated, validate
from session_assets.masking import safe_text
from session_assets.progress import tell


@dataclass(frozen=True)
class Options:
    """How a file is read and loaded. `max_rejected_share`: above it (0–1) nothing is imported."""

    encoding: str | None = None
    usual_encoding: str | None = None
    """Where no encoding is given, and no job has begun with one."""
    batch_size: int = DEFAULT_BATCH_SIZE
    policy: Policy | None = None
    """Where none is given: the one that the job began with, else `update`."""
    max_rejected_share: float | None = None
    create_users: bool = False
    """Make a user of every e-mail that nobody has, before the import."""


def summary(validated: Validated) -> dict[str, Any]:
    """What the validation pass found, in numbers."""
    return {
        "rows": validated.total_rows,
        "accepted": validated.accepted,
        "rejected": validated.rejected,
        "skipped": validated.skipped,
        "reasons": validated.reasons,
    }


def judge(path: Path, name: str, users: LookUp, scratch: Path, options: Options) -> Validated:
    """The validation pass over a file; `name` is what messages call it."""
    folder = scratch / "validation"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    encoding = encoding_of(path, options.encoding or options.usual_encoding)
    return validate(
        path,
        users,
        folder,
        encoding=encoding,
        name=safe_text(name),
        progress=lambda done, total: tell("bytes checked", done, total),
    )


def as_begun(job: Job, path: Path, options: Options) -> Options:
    """Options of a resume: rows are read and written as those before them. Raises `UsageError` where others are given."""
    if not job.last_processed_row:
        return options
    if options.policy not in (None, job.policy):
        raise UsageError(
            f"Job {job.id} began with the policy {job.policy}: resume it without --policy, or take it back and import the file"
            " again."
        )
    if job.encoding is None:
        if options.encoding is None:
            raise UsageError(
                f"Job {job.id} was begun by an earlier version, which did not note the encoding. Say the one that it began with,"
                f" utf-8 where none was told: `session-assets resume {job.id} --encoding E`."
            )
        return options
    asked = encoding_of(path, options.encoding) or UTF_8
    if options.encoding and codecs.lookup(asked) != codecs.lookup(job.encoding):
        raise UsageError(
            f"Job {job.id} began with the encoding {job.encoding}: resume it without --encoding, or take it back and"
            " import the file again."
        )
    return replace(options, encoding=job.encoding, usual_encoding=None)


def require_same_reading(job: Job, validated: Validated) -> None:
    """A resume must see the rows that the job saw before: the encoding decides what they are."""
    if job.last_processed_row and (job.total_rows, job.header) != (validated.total_rows, validated.header):
        raise BadInput(
            f"{job.file_name}: read as {validated.total_rows:,} rows, but job {job.id} began with {job.total_rows:,} or other"
            " columns. Give the --encoding that it began with."
        )


def require_few_rejects(job: Job, validated: Validated, options: Options) -> None:
    if found := too_many_rejects(job.file_name, validated, options):
        raise PlanRefused(f"{found[0]} Nothing{' more' if job.last_processed_row else ''} was imported.")


def too_many_rejects(name: str, validated: Validated, options: Options) -> list[str]:
    most = options.max_rejected_share
    if most is None or validated.rejected_share <= most:
        return []
    counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(validated.reasons.items()))
    return [
        f"{name}: {validated.rejected:,} of {validated.total_rows:,} rows ({validated.rejected_share:.1%}) would be rejected,"
        f" more than {most:.1%}: {counts}. Correct the file, or allow a larger share."
    ]
