"""How a file is read and judged for one attempt of its import, and what must be true of that before a row is written."""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from session_assets.errors import BadInput, PlanRefused, UsageError
from session_assets.kintell.importing import DEFAULT_BATCH_SIZE
from session_assets.kintell.jobs import UTF_8, Job, NotResumable, Policy
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
    timezone: str | None = None
    """Of dates without an offset; without one such rows are rejected."""
    usual_timezone: str | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    policy: Policy | None = None
    """Where none is given: the one that the job began with, else `update`."""
    max_rejected_share: float | None = None
    create_users: bool = False
    """Make a user of every e-mail that nobody has, before the import."""

    def __post_init__(self) -> None:
        require_timezone(self.timezone, "--timezone")
        require_timezone(self.usual_timezone, "KINTELL_TIMEZONE")

    def with_asked(self, asked: Mapping[str, Any] | None) -> Options:
        """These options, with those that came with the file where nothing else is given now."""
        asked = asked or {}
        return replace(
            self,
            encoding=self.encoding or asked.get("encoding"),
            timezone=self.timezone or asked.get("timezone"),
            policy=self.policy or asked.get("policy"),
            create_users=self.create_users or bool(asked.get("create_users")),
        )


def require_timezone(name: str | None, where: str) -> None:
    """Raises `UsageError` for what is no time zone; `where` names the option or the variable."""
    try:
        ZoneInfo(name or "UTC")
        pl.Series([None], dtype=pl.Datetime).dt.replace_time_zone(name or "UTC")  # knows fewer of them
    except (ZoneInfoNotFoundError, ValueError, OSError, pl.exceptions.PolarsError):
        raise UsageError(
            f"{where}: there is no time zone {safe_text(name)}. Say one of the IANA names, for example Europe/London."
        ) from None


def summary(validated: Validated) -> dict[str, Any]:
    """What the validation pass found, in numbers."""
    return {
        "rows": validated.total_rows,
        "accepted": validated.accepted,
        "rejected": validated.rejected,
        "skipped": validated.skipped,
        "reasons": validated.reasons,
        "warnings": validated.oddities,
        "suggested_encoding": validated.suggested,
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
        timezone=options.timezone or options.usual_timezone,
        name=safe_text(name),
        progress=lambda done, total: tell("bytes checked", done, total),
    )


def as_begun(job: Job, path: Path, options: Options) -> Options:
    """Options of a resume: rows are read and written as those before them. Raises `UsageError` where others are given.

    Once all rows of the file were read, what is left of them may be read in another way: rejected rows are retried so.
    """
    options = options.with_asked(job.asked)
    if not job.last_processed_row:
        return options
    if job.read_whole:
        require_policy(job, options)
        return replace(
            options,
            encoding=options.encoding or job.encoding,
            timezone=options.timezone or job.timezone,
        )
    if options.policy not in (None, job.policy):
        raise _begun_with(job, "policy", job.policy)
    if options.timezone not in (None, job.timezone):
        raise _begun_with(job, "time zone", job.timezone or "none", "timezone")
    options = replace(options, timezone=job.timezone, usual_timezone=None)
    if job.encoding is None:
        if options.encoding is None:
            raise UsageError(
                f"Job {job.id} was begun by an earlier version, which did not note the encoding. Say the one that it began with,"
                f" utf-8 where none was told: `session-assets resume {job.id} --encoding E`."
            )
        return options
    asked = encoding_of(path, options.encoding) or UTF_8
    if options.encoding and codecs.lookup(asked) != codecs.lookup(job.encoding):
        raise _begun_with(job, "encoding", job.encoding)
    return replace(options, encoding=job.encoding, usual_encoding=None)


def require_policy(job: Job, options: Options) -> None:
    """Raises `NotResumable` if a file that was read as a whole is to be imported by another policy."""
    if options.policy in (None, job.policy):
        return
    raise NotResumable(
        f"Job {job.id} imported {job.file_name} with the policy {job.policy}:"
        f" {job.skipped_rows:,} rows were skipped, {job.kept_rows:,} kept a stored value. To import all of it with"
        f" {options.policy}, take it back first: `session-assets revert kintell --plan-id {job.id}`. To retry what is open,"
        " leave the policy out."
    )


def reads_otherwise(job: Job, path: Path, options: Options) -> bool:
    """Whether a file that was read as a whole is to be read with another encoding or time zone."""
    if not job.read_whole:
        return False
    encoding = encoding_of(path, options.encoding) if options.encoding else None
    is_other = encoding is not None and codecs.lookup(encoding) != codecs.lookup(job.encoding or UTF_8)
    return is_other or options.timezone not in (None, job.timezone)


def require_no_misread(job: Job, misread: int) -> None:
    """Raises `NotResumable` if sessions that the job wrote would say something else, read in another way."""
    if misread:
        raise NotResumable(
            f"{misread:,} sessions that job {job.id} imported from {job.file_name} would say something else with this encoding or"
            f" time zone. Nothing was changed. Take it back, `session-assets revert kintell --plan-id {job.id}`, then import the"
            " file with the right one."
        )


def _begun_with(job: Job, what: str, value: str, option: str | None = None) -> NotResumable:
    return NotResumable(
        f"Job {job.id} began with the {what} {value}: resume it without --{option or what}, or take it back and import the file"
        " again."
    )


def require_same_reading(job: Job, validated: Validated) -> None:
    """A resume must see the rows that the job saw before: the encoding decides what they are."""
    if not job.last_processed_row or (job.total_rows, job.header) == (validated.total_rows, validated.header):
        return
    advice = (
        f"To read it in another way, take the job back first: `session-assets revert kintell --plan-id {job.id}`."
        if job.read_whole
        else "Give the --encoding that it began with."
    )
    raise BadInput(
        f"{job.file_name}: read as {validated.total_rows:,} rows, but job {job.id} began with {job.total_rows:,} or other"
        f" columns. {advice}"
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
