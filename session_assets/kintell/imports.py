"""Imports as a person asks for them: a file taken up, checked, imported, and told about. The same from Dagster and terminal.

Each file is a partition. What is known of it lies in the storage as `kintell/files/{partition}/…`, its private copy below
SESSION_ASSETS_HOME until the job is over, so that a resume needs no one to bring the file again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.changes.owner import Accepted
from session_assets.drops.error_file import write_error_file
from session_assets.drops.folder import drop_key, private_copy
from session_assets.kintell import model
from session_assets.kintell.attempt import (
    Options,
    as_begun,
    judge,
    reads_otherwise,
    require_few_rejects,
    require_no_misread,
    require_policy,
    require_same_reading,
    summary,
    too_many_rejects,
)
from session_assets.kintell.batch import Batch
from session_assets.kintell.files import Files, Taken, require_unchanged
from session_assets.kintell.importing import run_import
from session_assets.kintell.jobs import Job, Outstanding, Source
from session_assets.kintell.told import known_job, odd_rows
from session_assets.kintell.users import USERS, LookUp, as_if_created
from session_assets.kintell.validation import Validated
from session_assets.masking import safe_text
from session_assets.settings import Settings
from session_assets.storage import Storage, file_name
from session_assets.stores.kintell_jobs import JobStore
from session_assets.stores.kintell_preflight import make_ready, preflight
from session_assets.stores.kintell_preview import Preview, count_misread
from session_assets.stores.kintell_rejects import reason_counts, rejects
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.kintell_users import Users, require_creatable
from session_assets.stores.postgres import Database


class Imports(Files):
    """The imports of one database. Opened per step: connections do not outlive a process."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.database = Database.from_env(model.VARIABLE)
        self.jobs = JobStore(self.database, Accepted(storage))
        super().__init__(settings, storage, self.jobs)
        self.oddities: dict[str, int] = {}
        """Of the file that was imported last: rows that are seldom meant, by `model.ODDITIES`."""
        self.suggested: str | None = None
        """An encoding that rejected records of that file may have."""

    def dry_run(self, path: Path, options: Options, name: str | None = None) -> dict[str, Any]:
        """Validate a file and say what an import would do, writing nothing but the report and its lists.

        `name` is what the report calls the file, if it is not the path's.
        """
        name = name or path.name
        findings = preflight(self.database, self.settings.home, path.lstat().st_size)
        with self.storage.scratch() as scratch, self._users() as users:
            copy, sha256, size = private_copy(path, scratch)
            partition = drop_key(path, sha256)
            job = self.jobs.find(Source(sha256, size))
            if job is not None:
                self.jobs.require_own(job)
            again = None if job is None else self._again(job)
            options = options if job is None else as_begun(job, copy, options)
            validated = judge(copy, name, users, scratch, options)
            folder = f"kintell/dry_runs/{file_name(partition)}"
            found = self._keep(folder, validated)
            errors = scratch / "errors.csv"
            if job is not None and again is not None:
                require_same_reading(job, validated)
                self._require_no_misread(job, copy, options, validated)
            policy = options.policy or (job.policy if job is not None and job.last_processed_row else "update")
            would = Preview(self.database, policy, validated.absent, job, again)
            batches = would.looked_at(
                _batches(
                    validated,
                    options.batch_size,
                    job.last_processed_row if job is not None and again is not None else 0,
                )
            )
            write_error_file(errors, validated.header, (one.rejected for one in batches), with_raw=validated.has_raw)
            self.storage.put(f"{folder}/errors.csv", errors)
        return found | {
            "file": safe_text(name),
            "partition": partition,
            "error_file": str(self.storage.path(f"{folder}/errors.csv")),
            "missing_users_list": str(self.storage.path(f"{folder}/missing_users.parquet")),
            **would.counts,
            **known_job(job, again, would, found),
            "obstacles": ([job.unfinished_revert] if job is not None and job.unfinished_revert else [])
            + [one.message for one in findings if not one.passed]
            + too_many_rejects(name, validated, options),
        }

    def run(
        self,
        taken: Taken,
        options: Options,
        *,
        run_id: str | None = None,
        resume: str | None = None,
        say: Callable[[str], None],
    ) -> tuple[Job, bool]:
        """Import a file, or what is left of it; returns its job, and whether anything was left to do.

        Of a file that was imported before, rejected rows are retried, and sessions that are gone come back. `resume` names the
        job that the file must be of. Raises what `run_import` raises, `BadInput`, `PlanRefused`, `PreflightFailed`.
        """
        for finding in make_ready(self.database, self.settings.home, taken.byte_size):
            if not finding.passed:
                say(finding.message)
        if options.create_users:
            require_creatable(self.database)
        self.sweep()
        if resume is not None:
            job = self.jobs.get(resume)
            job.require_same(taken.source)
            job.require_resumable()
        else:
            job = self.jobs.start(taken.file_name, taken.source, run_id)
        self.jobs.require_own(job)
        options = options.with_asked(job.asked)
        again, is_other = self._again(job), reads_otherwise(job, Path(taken.copy), options)
        if job.status == "completed" and not (again and again.any) and not is_other:
            require_policy(job, options)
            say(
                f"{safe_text(taken.file_name)} holds the bytes that job {job.id} ({job.file_name}) imported: nothing to do,"
                f" {again.written if again else 0:,} sessions that it wrote were counted in the table"
            )
            self.release(taken)
            return job, False
        require_unchanged(taken)
        options = as_begun(job, Path(taken.copy), options)
        with self.storage.scratch() as scratch, ExitStack() as opened:

            def check(job: Job) -> Validated:
                now = as_begun(job, Path(taken.copy), options)  # somebody may have gone on with it meanwhile
                if options.create_users:
                    say(f"{self._create_missing(job, taken, now):,} users were created")
                users = opened.enter_context(Users(self.database))
                validated = judge(Path(taken.copy), taken.file_name, users, scratch, now)
                require_same_reading(job, validated)
                self._require_no_misread(job, Path(taken.copy), now, validated)
                self._keep(f"kintell/files/{file_name(taken.partition)}", validated)
                require_few_rejects(job, validated, options)
                for text in odd_rows(validated.oddities):
                    say(f"{safe_text(taken.file_name)}: {text}")
                self.oddities, self.suggested = validated.oddities, validated.suggested
                return validated

            job = run_import(
                self.jobs,
                job,
                check,
                batch_size=options.batch_size,
                policy=options.policy,
                run_id=run_id,
                reads_otherwise=is_other,
            )
        if job.finished:
            self.release(taken)
        return job, True

    def _again(self, job: Job) -> Outstanding | None:
        """What of the rows that a job has been through is not in the table; None if it has been through none."""
        return self.jobs.outstanding(job) if job.last_processed_row else None

    def _require_no_misread(self, job: Job, copy: Path, options: Options, validated: Validated) -> None:
        if reads_otherwise(job, copy, options):
            batches = validated.batches(options.batch_size)
            require_no_misread(job, count_misread(self.database, job, validated.absent, batches))

    def write_errors(self, job: Job) -> str | None:
        """The error file of a job, written anew; None where nothing was rejected."""
        reasons = reason_counts(self.database, job)
        if not reasons:
            return None
        name = f"kintell/errors/{job.id}.csv"
        with self.storage.scratch() as scratch:
            local = scratch / "errors.csv"
            write_error_file(local, job.header or [], rejects(self.database, job), with_raw=model.any_raw(reasons))
            self.storage.put(name, local)
        self.jobs.set_error_file(job, str(self.storage.path(name)))
        return str(self.storage.path(name))

    def missing_users(self, partition: str) -> pl.DataFrame:
        """`MISSING_USERS` of a file, as its validation found them."""
        name = self._name(partition, "missing_users.parquet")
        return (
            self.storage.read_parquet(name) if self.storage.exists(name) else pl.DataFrame(schema=model.MISSING_USERS)
        )

    def still_missing(self, missing: pl.DataFrame) -> pl.DataFrame:
        """Of `MISSING_USERS` those that nobody has created since."""
        if missing.is_empty():
            return missing
        with Users(self.database) as users:
            return missing.join(users(missing["email"].unique()), on="email", how="anti").sort(
                "rows", "email", descending=[True, False]
            )

    def create_users(self, missing: pl.DataFrame) -> int:
        with Users(self.database) as users:
            return users.create(missing)

    def _create_missing(self, job: Job, taken: Taken, options: Options) -> int:
        """Nobody is created where too many rows would be rejected all the same."""
        with self.storage.scratch() as scratch, Users(self.database) as users:
            copy = Path(taken.copy)
            missing = judge(copy, taken.file_name, users, scratch, options).missing_users()
            if options.max_rejected_share is not None:
                would = judge(copy, taken.file_name, as_if_created(users, missing), scratch, options)
                require_few_rejects(job, would, options)
            return users.create(missing)

    @contextmanager
    def _users(self) -> Iterator[LookUp]:
        """The users; nobody, where an import has not made the table so far."""
        with self.database.connected("kintell dry run") as connection:
            is_absent = "users" in Schema(connection).missing_tables()
        if is_absent:
            yield lambda _: pl.DataFrame(schema=USERS)
        else:
            with Users(self.database) as users:
                yield users

    def _keep(self, folder: str, validated: Validated) -> dict[str, Any]:
        missing = validated.missing_users()
        self.storage.write_parquet(f"{folder}/missing_users.parquet", missing)
        return summary(validated) | {"missing_users": missing["email"].n_unique()}


def _batches(validated: Validated, batch_size: int, checkpoint: int) -> Iterator[Batch]:
    """All rows, in batches that do not cross the checkpoint."""
    if checkpoint:
        yield from validated.batches(batch_size, 0, checkpoint)
    yield from validated.batches(batch_size, checkpoint)
