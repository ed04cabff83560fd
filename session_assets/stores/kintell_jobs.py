"""`backfill_jobs`: jobs made, found, held, and moved from state to state, each move guarded by the state it starts from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from session_assets.changes.owner import Accepts
from session_assets.errors import LockHeld, UsageError
from session_assets.kintell.jobs import UTF_8, Job, Outstanding, Policy, Source, UnknownJob, phase_of
from session_assets.masking import safe_lines, safe_text
from session_assets.stores.kintell_load import Lane
from session_assets.stores.kintell_outstanding import outstanding
from session_assets.stores.kintell_owner import own_target, require_own_job
from session_assets.stores.kintell_retry import RetryLane
from session_assets.stores.kintell_states import REASON, STATUS
from session_assets.stores.postgres import Database, holder, lock_key

# Counters of an adopted table may be null. What later migrations add is not there before the next
# import.
_COLUMNS = f"""
    id, file_name, {STATUS} AS status, {REASON} AS reason, trim(sha256) AS sha256,
    byte_size, run_id, coalesce(policy, 'update') AS policy, header,
    to_jsonb(backfill_jobs) ->> 'encoding' AS encoding, to_jsonb(backfill_jobs) ->> 'timezone' AS timezone,
    to_jsonb(backfill_jobs) ->> 'phase' AS phase, to_jsonb(backfill_jobs) -> 'asked' AS asked,
    coalesce((to_jsonb(backfill_jobs) ->> 'kept_rows')::integer, 0) AS kept_rows,
    (to_jsonb(backfill_jobs) ->> 'rejects_closed_at')::timestamptz AS rejects_closed_at,
    (to_jsonb(backfill_jobs) ->> 'accepted_at')::timestamptz AS accepted_at, error_file_path,
    coalesce(total_rows, 0) AS total_rows,
    coalesce(processed_rows, 0) AS processed_rows, coalesce(successful_rows, 0) AS successful_rows,
    coalesce(failed_rows, 0) AS failed_rows, inserted_rows, updated_rows, skipped_rows,
    coalesce(last_processed_row, 0) AS last_processed_row, attempt, pause_requested, digest_columns, events_total,
    events_published, started_at, completed_at, created_at, updated_at
"""
_SAME_BYTES = "sha256 = %s AND reason IS DISTINCT FROM 'rolled back'"
_UNFINISHED = f"({STATUS}) <> 'completed' AND reason IS DISTINCT FROM 'rolled back' AND sha256 IS NOT NULL"
_START = f"""
    INSERT INTO backfill_jobs (id, file_name, sha256, byte_size, run_id, status, total_rows, processed_rows,
        successful_rows, failed_rows, last_processed_row, target)
    VALUES (gen_random_uuid(), %s, %s, %s, %s, 'pending', 0, 0, 0, 0, 0, %s)
    ON CONFLICT (sha256) WHERE reason IS DISTINCT FROM 'rolled back' DO NOTHING RETURNING {_COLUMNS}
"""
_CHECKING = f"""
    UPDATE backfill_jobs SET phase = 'validating', pause_requested = false, run_id = coalesce(%(run_id)s, run_id),
        status = CASE {STATUS} WHEN 'completed' THEN status ELSE 'running' END, reason = NULL, updated_at = now()
    WHERE id = %(id)s AND (reason IS NULL OR reason NOT IN ('rolled back', 'rolling back')) RETURNING {_COLUMNS}
"""
_BEGIN = f"""
    UPDATE backfill_jobs SET status = 'running', phase = 'loading', reason = NULL, attempt = attempt + 1,
        run_id = coalesce(%(run_id)s, run_id), started_at = coalesce(started_at, now()), completed_at = NULL,
        policy = CASE WHEN last_processed_row = 0 THEN coalesce(%(policy)s, policy) ELSE policy END,
        updated_at = now(), digest_columns = coalesce(digest_columns, %(columns)s)
    WHERE id = %(id)s AND (reason IS NULL OR reason NOT IN ('rolled back', 'rolling back'))
    RETURNING {_COLUMNS}
"""
_END = """
    UPDATE backfill_jobs SET status = %s, reason = %s, phase = NULL, updated_at = now(),
        completed_at = CASE WHEN %s THEN now() ELSE completed_at END
    WHERE id = %s AND attempt = %s
"""
_FAIL = f"""
    UPDATE backfill_jobs SET status = 'failed', reason = %s, updated_at = now()
    WHERE id = %s AND ({STATUS}) <> 'completed' AND (reason IS NULL OR reason NOT IN ('rolled back', 'rolling back'))
"""
_ACTIVE = "('pending', 'running', 'paused')"


class JobStore:
    """Jobs of one database. Every call is a transaction of its own; `hold` keeps others off while one works.

    Work on a job raises `PlanRefused` if it was imported into another database, unless `accepted` knows that as this one.
    """

    def __init__(self, database: Database, accepted: Accepts | None = None) -> None:
        self.database = database
        self.accepted = accepted

    def start(self, file_name: str, source: Source, run_id: str | None = None) -> Job:
        """The job of these bytes: a new pending one, or the one that they already have (`Job.file_name` is its first name)."""
        with self._rows("start") as cursor:
            values = [file_name[-255:], source.sha256, source.byte_size, run_id, own_target(cursor.connection)]
            while True:
                row = cursor.execute(_START, values).fetchone()
                row = (
                    row
                    or cursor.execute(
                        f"SELECT {_COLUMNS} FROM backfill_jobs WHERE {_SAME_BYTES}", [source.sha256]
                    ).fetchone()
                )
                if row:
                    return self._job(cursor, row)

    def is_new(self) -> bool:
        """Whether no import has made the tables so far."""
        with self._rows("jobs") as cursor:
            found = cursor.execute("SELECT to_regclass('backfill_row_changes') IS NULL AS is_new").fetchone()
            return bool(found and found["is_new"])

    def find(self, source: Source) -> Job | None:
        """The job that these bytes have, if any that was not rolled back."""
        if self.is_new():
            return None
        with self._rows("jobs") as cursor:
            row = cursor.execute(f"SELECT {_COLUMNS} FROM backfill_jobs WHERE {_SAME_BYTES}", [source.sha256])
            found = row.fetchone()
            return self._job(cursor, found) if found else None

    def get(self, job_id: str) -> Job:
        """Raises `UnknownJob` for an id that no job has."""
        if self.is_new():
            raise UnknownJob(f"There is no import job {job_id}: nothing was imported into this database so far.")
        with self._rows("jobs") as cursor:
            try:
                row = cursor.execute(f"SELECT {_COLUMNS} FROM backfill_jobs WHERE id = %s", [job_id]).fetchone()
            except psycopg.errors.InvalidTextRepresentation:
                row = None
            if row is None:
                raise UnknownJob(f"There is no import job {job_id}. `session-assets jobs` lists them.")
            return self._job(cursor, row)

    def own(self, job_id: str) -> Job:
        """The job, for somebody who decides about it. Raises `UnknownJob`, `PlanRefused`."""
        job = self.get(job_id)
        self.require_own(job)
        return job

    def require_own(self, job: Job) -> None:
        """Raises `PlanRefused` for a job that a copy of another database brought along."""
        require_own_job(self.database, job, self.accepted)

    def count(self) -> int:
        """How many jobs there are, those that were rolled back included."""
        with self._rows("jobs") as cursor:
            found = cursor.execute("SELECT count(*) AS jobs FROM backfill_jobs").fetchone()
            return found["jobs"] if found else 0

    def unfinished(self) -> list[Job]:
        """Jobs that may be resumed, or whose revert must be finished; the oldest first."""
        with self._rows("jobs") as cursor:
            found = cursor.execute(f"SELECT {_COLUMNS} FROM backfill_jobs WHERE {_UNFINISHED} ORDER BY created_at")
            return [self._job(cursor, row) for row in found.fetchall()]

    def newest(self, limit: int = 50) -> list[Job]:
        """Jobs, the newest first."""
        if self.is_new():
            return []
        with self._rows("jobs") as cursor:
            found = cursor.execute(f"SELECT {_COLUMNS} FROM backfill_jobs ORDER BY created_at DESC LIMIT %s", [limit])
            return [self._job(cursor, row) for row in found.fetchall()]

    @contextmanager
    def hold(self, job: Job, purpose: str = "import") -> Iterator[None]:
        """Work on a job alone. Raises `LockHeld` naming who does, `PlanRefused`."""
        self.require_own(job)
        with self.database.lock(_lock(job.id), f"kintell {purpose}", f"{job.file_name} (job {job.id})"):
            yield

    def checking(self, job: Job, run_id: str | None = None) -> Job:
        """Note that the holder validates the file now. Call while held. A completed job stays completed until rows change."""
        with self._rows("check") as cursor:
            row = cursor.execute(_CHECKING, {"id": job.id, "run_id": run_id}).fetchone()
            if row is None:
                self.get(job.id).require_resumable()
                raise UsageError(f"Job {job.id} cannot be started. `session-assets jobs` shows its state.")
            return self._job(cursor, row)

    def begin(self, job: Job, run_id: str | None = None, policy: Policy | None = None) -> Job:
        """Start or resume: the returned job's checkpoint and `attempt` are what batches go on from. Call while held.

        `policy` counts as long as no row was imported.

        Waits for a commit that a killed process may have sent, and puts off whoever believes to hold the job still.
        """
        with self._rows("begin") as cursor:
            columns = [row["attname"] for row in cursor.execute(_TABLE_COLUMNS)]
            values = {"id": job.id, "run_id": run_id, "columns": columns, "policy": policy}
            row = cursor.execute(_BEGIN, values).fetchone()
            if row is None:
                self.get(job.id).require_resumable()
                raise UsageError(f"Job {job.id} cannot be started. `session-assets jobs` shows its state.")
            return self._job(cursor, row)

    def describe(
        self, job: Job, *, total_rows: int, header: list[str], encoding: str | None, timezone: str | None = None
    ) -> Job:
        """Note what the validation pass found: the number of data rows, the original columns for the error file, the encoding."""
        with self._rows("describe") as cursor:
            cursor.execute(
                "UPDATE backfill_jobs SET total_rows = %s, header = %s, encoding = %s, timezone = %s, updated_at = now()"
                " WHERE id = %s",
                [total_rows, json.dumps(header), encoding or UTF_8, timezone, job.id],
            )
        return self.get(job.id)

    def ask(self, job: Job, asked: Mapping[str, Any]) -> Job:
        """Remember the options that came with the file of a job that has not begun: a later resume need not repeat them."""
        self.require_own(job)
        with self._rows("ask") as cursor:
            cursor.execute("UPDATE backfill_jobs SET asked = %s WHERE id = %s", [json.dumps(dict(asked)), job.id])
        return self.get(job.id)

    def lane(self, job: Job, absent: Sequence[str] = (), again: Outstanding | None = None) -> Lane:
        """A transaction for the batches of a job that has begun; `absent` names columns that the file does not have.

        With `again` it is for rows that the job has been through: only what is outstanding of them is written.
        """
        return Lane(self.database, job, absent) if again is None else RetryLane(self.database, job, absent, again=again)

    def outstanding(self, job: Job) -> Outstanding:
        """What of a job's rows is not in the table, counted there."""
        with self.database.connected("kintell recount") as connection:
            return outstanding(connection, job)

    def set_error_file(self, job: Job, path: str) -> None:
        with self._rows("error file") as cursor:
            cursor.execute("UPDATE backfill_jobs SET error_file_path = %s WHERE id = %s", [path[:500], job.id])

    def complete(self, job: Job) -> Job:
        """All batches are committed. Raises `UsageError` where the job was taken from us."""
        return self._end(job, "completed", None)

    def paused(self, job: Job) -> Job:
        """Stopped between two batches, as asked."""
        return self._end(job, "paused", None)

    def failed(self, job: Job, reason: str) -> Job:
        """The holder gives up: what was committed stays, and can be resumed or rolled back."""
        return self._end(job, "failed", safe_lines(reason)[:1000])

    def pause(self, job_id: str) -> Job:
        """Ask whoever works on a job to stop after the batch at hand; where nobody does, it is paused at once.

        Raises `UsageError` for a job that is over.
        """
        job = self.own(job_id)
        if job.state not in ("pending", "running", "paused"):
            raise UsageError(f"Job {job.id} is {job.status}: there is nothing to pause.")
        with self._rows("pause") as cursor:
            cursor.execute(
                "UPDATE backfill_jobs SET pause_requested = true, updated_at = now(),"
                " status = CASE WHEN %s THEN 'paused' ELSE status END WHERE id = %s AND (status IN "
                + _ACTIVE
                + " OR %s)",
                [job.holder is None, job.id, job.holder is not None],
            )
        return self.get(job_id)

    def fail(self, job_id: str, reason: str = "given up by an operator") -> Job:
        """Give a job up that nobody works on. What it committed stays, and can be resumed or rolled back.

        Raises `LockHeld` while somebody works on it, `UsageError` for a completed job.
        """
        job = self.get(job_id)
        job.require_kept()
        if job.finished:
            raise UsageError(f"Job {job.id} is over ({job.reason or job.status}). To take its rows back, revert it.")
        try:
            with self.hold(job, "fail"), self._rows("fail") as cursor:
                cursor.execute(_FAIL, [safe_lines(reason)[:1000], job.id])
        except LockHeld as error:
            raise LockHeld(f"{error} Or `session-assets pause {job.id}` first.") from None
        return self.get(job_id)

    def _end(self, job: Job, status: str, reason: str | None) -> Job:
        with self._rows(status) as cursor:
            values = [status, reason, status == "completed", job.id, job.attempt]
            if cursor.execute(_END, values).rowcount != 1:
                raise UsageError(
                    f"Job {job.id} was taken over by another process. `session-assets jobs` shows its state."
                )
        return self.get(job.id)

    @contextmanager
    def _rows(self, purpose: str) -> Iterator[psycopg.Cursor[dict[str, Any]]]:
        with (
            self.database.connected(f"kintell {purpose}") as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            yield cursor

    def _job(self, cursor: psycopg.Cursor[dict[str, Any]], row: dict[str, Any]) -> Job:
        job_id = str(row["id"])
        who = holder(cursor.connection, lock_key(_lock(job_id)))
        publisher = holder(cursor.connection, lock_key(events_lock(job_id)))
        row["phase"] = phase_of(who, publisher, row["phase"], row["status"])
        shown = {"id": str(row["id"]), "file_name": safe_text(row["file_name"])}  # file names stand in errors and logs
        return Job(**{**row, **shown}, holder=who, publisher=publisher)


def events_lock(job_id: str) -> str:
    """The lock of whoever publishes the events of a job."""
    return f"kintell.events {job_id}"


def _lock(job_id: str) -> str:
    return f"kintell.job {job_id}"


_TABLE_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = 'kintell_sessions'::regclass AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""
