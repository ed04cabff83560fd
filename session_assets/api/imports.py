"""`/import/backfill`: the endpoints of the Kintell runbook (seed S4), on top of import jobs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path as FilePath
from subprocess import Popen
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from session_assets.api.import_answers import Created, DryRun, Status, Undone, created, dry_run_of, status_of, undone_of
from session_assets.api.launcher import Busy, Launcher, NotBegun
from session_assets.api.problems import documented
from session_assets.api.settings import ApiSettings
from session_assets.api.uploads import FIELD, OPTIONS, Form, Received, Upload, body, received
from session_assets.drops.error_file import error_lines
from session_assets.errors import LockHeld, StoreUnavailable, UsageError
from session_assets.graph.environment import Environment
from session_assets.kintell import model
from session_assets.kintell.assets import open_imports, options_of
from session_assets.kintell.attempt import Options, as_begun
from session_assets.kintell.importing import DEFAULT_BATCH_SIZE
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job, Outstanding, UnknownJob
from session_assets.kintell.model import any_raw
from session_assets.kintell.uploads import receive, register
from session_assets.stores import nats
from session_assets.stores.kintell_outbox import lag
from session_assets.stores.kintell_rejects import reason_counts, rejects

JobId = Annotated[str, Path(alias="jobId", description="As `start` answered it.")]
_LINES = 1000
_NO_FILE = "The request brings no file. Send it in the field file, with a file name, as curl -F does."
_FIELDS = (FIELD, *OPTIONS)
_START, _RESUME, _REVERT = body(*_FIELDS, required=[FIELD]), body(*_FIELDS), body("dryRun")


def router(settings: ApiSettings, launcher: Launcher) -> APIRouter:
    """The routes, below whatever prefix they are given."""
    routes = APIRouter(tags=["import"])

    @routes.post("/start", responses=documented(400, 408, 413, 415, 422, 429, 503), openapi_extra=_START)
    async def start(request: Request) -> Created | DryRun:
        """Upload a CSV file of sessions, plain or gzip. Its job is `pending`: nothing is imported before `resume`.

        Bytes that were uploaded before answer the job that they have, and what is left to do with it. The other fields are
        remembered for the resume; with `dryRun` there is no job, and the answer says what an import would do.
        """
        imports = await run_in_threadpool(_imports)
        async with received(request, imports.copies, settings.max_upload_bytes, settings.request_seconds) as sent:
            if sent.upload is None:
                raise HTTPException(400, _NO_FILE)
            if sent.form.dry_run:
                return await run_in_threadpool(_dry_run, imports, sent.upload.draft, sent.upload.name, sent.form)
            job = await run_in_threadpool(_register, imports, sent.upload, sent.form)
        now = launcher.seen(job)
        return created(now, await run_in_threadpool(_outstanding, imports, now))

    @routes.get("/{jobId}/status", responses=documented(404, 429, 503))
    def status(job_id: JobId) -> Status:
        """How far a job is: its state, who works on it, and at what, as of now."""
        imports = _imports()
        return _status(imports, launcher.seen(_job(imports, job_id)))

    @routes.get(
        "/{jobId}/errors",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The rejected rows"},
            **documented(404, 429, 503),
        },
    )
    def errors(job_id: JobId) -> StreamingResponse:
        """The rejected rows as CSV: correct them and import the file; the three columns at the end may stay."""
        imports = _imports()
        job = _job(imports, job_id)
        with_raw = any_raw(reason_counts(imports.database, job))
        lines = error_lines(job.header or [], rejects(imports.database, job), with_raw=with_raw)
        name = {"Content-Disposition": f'attachment; filename="backfill_errors_{job.id}.csv"'}
        return StreamingResponse(_encoded(lines), media_type="text/csv; charset=utf-8", headers=name)

    @routes.post(
        "/{jobId}/resume", responses=documented(400, 404, 408, 409, 413, 415, 422, 429, 503), openapi_extra=_RESUME
    )
    async def resume(job_id: JobId, request: Request) -> Status | DryRun:
        """Start a job, or go on with it, and wait some seconds for its end: then the answer says `running`.

        The file may be left out as long as the server has its copy. Of a completed job, rejected rows are retried, and sessions
        that were removed come back; if nothing is left to do it answers its status.
        """
        imports = await run_in_threadpool(_imports)
        job = await run_in_threadpool(_job, imports, job_id)
        async with received(request, imports.copies, settings.max_upload_bytes, settings.request_seconds) as sent:
            if sent.form.dry_run:
                return await run_in_threadpool(_rehearse, imports, job, sent)
            process = await run_in_threadpool(_begin, launcher, imports, job, sent)
        if process is None:
            return await run_in_threadpool(_status, imports, launcher.seen(job))
        try:
            now = await run_in_threadpool(launcher.wait, job, process, settings.wait, imports.jobs.get)
        except NotBegun as error:
            raise _not_begun(error) from None
        return await run_in_threadpool(_status, imports, now)

    @routes.post("/{jobId}/pause", responses=documented(404, 409, 429, 503))
    def pause(job_id: JobId) -> Status:
        """Stop a job after the batch at hand; `resume` goes on. A job that nobody works on is paused at once."""
        imports = _imports()
        job = launcher.seen(_job(imports, job_id))
        if job.phase == "starting":
            raise HTTPException(
                409, f"Job {job.id} is starting ({job.holder}). Pause it when its phase is another one."
            )
        try:
            return _status(imports, imports.jobs.pause(job.id))
        except StoreUnavailable:
            raise
        except UsageError as error:
            raise HTTPException(409, str(error)) from None

    @routes.post(
        "/{jobId}/revert", responses=documented(400, 404, 408, 409, 413, 415, 422, 429, 503), openapi_extra=_REVERT
    )
    async def revert(job_id: JobId, request: Request) -> Undone:
        """Take a job back: rows that it inserted go, rows that it updated get their earlier values. `dryRun` says what would be.

        Rows that were edited since are left, each with its id and a word for the reason.
        """
        imports = await run_in_threadpool(_imports)
        job = await run_in_threadpool(_job, imports, job_id)
        async with received(request, imports.copies, settings.max_upload_bytes, settings.request_seconds) as sent:
            dry_run = sent.form.dry_run
        arguments = ["revert", model.SLICE, "--plan-id", job.id, *(["--dry-run"] if dry_run else [])]
        try:
            process = await run_in_threadpool(_launch, launcher, job, *arguments)
            summary = await run_in_threadpool(launcher.answer, job, process, settings.wait)
        except NotBegun as error:
            raise _not_begun(error) from None
        now = await run_in_threadpool(imports.jobs.get, job.id)
        return undone_of(now, summary, dry_run=dry_run)

    return routes


def _begin(launcher: Launcher, imports: Imports, job: Job, sent: Received) -> Popen[bytes] | None:
    """The process that works on a job; None if nothing is left to do."""
    if sent.upload is not None:
        job.require_same(sent.upload.source)
    is_over = job.status == "completed"
    if is_over and not imports.jobs.outstanding(job).any:
        return _publish(launcher, imports, job)
    job.require_resumable()
    if is_over and sent.upload is None and imports.partition_of(job) is None:
        return _publish(launcher, imports, job)
    launcher.require_idle(job)
    if sent.upload is not None:
        receive(imports, sent.upload.draft, job, sent.upload.source)
    partition = imports.partition_of(job)
    taken = imports.taken(partition) if partition else None
    if taken is None:
        raise HTTPException(400, f"The server has no copy of {job.file_name} any more. Send it in the field file.")
    as_begun(job, FilePath(taken.copy), _options(imports, sent.form))
    if sent.form.asked():
        imports.jobs.ask(job, (job.asked or {}) | sent.form.asked())
    return _launch(launcher, job)


def _publish(launcher: Launcher, imports: Imports, job: Job) -> Popen[bytes] | None:
    """The process that publishes the events of a completed job; None if none waits, or NATS is not configured."""
    waits = bool(os.environ.get(nats.VARIABLE)) and lag(imports.database, job).waiting > 0
    return _launch(launcher, job) if waits and launcher.seen(job).phase is None else None


def _launch(launcher: Launcher, job: Job, *arguments: str) -> Popen[bytes]:
    try:
        return launcher.start(job, *arguments)
    except Busy as error:
        raise HTTPException(429, str(error), {"Retry-After": "30"}) from None


def _rehearse(imports: Imports, job: Job, sent: Received) -> DryRun:
    """A dry run of the file that a job is of."""
    if sent.upload is not None:
        job.require_same(sent.upload.source)
        return _dry_run(imports, sent.upload.draft, sent.upload.name, sent.form)
    partition = imports.partition_of(job)
    taken = imports.taken(partition) if partition else None
    if taken is None:
        raise HTTPException(400, f"The server has no copy of {job.file_name} any more. Send it in the field file.")
    return _dry_run(imports, FilePath(taken.copy), job.file_name, sent.form)


def _dry_run(imports: Imports, path: FilePath, name: str, form: Form) -> DryRun:
    if form.create_users:
        raise HTTPException(
            422, "dryRun creates nobody: leave createUsers out. The answer says how many users are missing."
        )
    return dry_run_of(imports.dry_run(path, _options(imports, form), name))


def _options(imports: Imports, form: Form) -> Options:
    return options_of(
        imports.settings,
        form.encoding,
        DEFAULT_BATCH_SIZE,
        form.policy,
        timezone=form.timezone,
        max_rejected_share=None,
    )


def _not_begun(error: NotBegun) -> HTTPException:
    """The exit codes of the terminal as status codes."""
    codes = {1: 422, 2: 409, LockHeld.exit_code: 409}
    return HTTPException(codes.get(error.code, 503), str(error))


def _imports() -> Imports:
    return open_imports(Environment.load())


def _register(imports: Imports, upload: Upload, form: Form) -> Job:
    return register(imports, upload.draft, upload.name, upload.source, _options(imports, form), form.asked())


def _outstanding(imports: Imports, job: Job) -> Outstanding | None:
    return imports.jobs.outstanding(job) if job.status == "completed" else None


def _status(imports: Imports, job: Job) -> Status:
    return status_of(job, _outstanding(imports, job))


def _job(imports: Imports, job_id: str) -> Job:
    try:
        return imports.jobs.get(str(uuid.UUID(job_id)))
    except ValueError:
        raise UnknownJob("There is no such import job: its id is not one. `start` answers the id of a job.") from None


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    """Many lines at once: each piece is handed over between threads."""
    while piece := "".join(islice(lines, _LINES)):
        yield piece.encode()
