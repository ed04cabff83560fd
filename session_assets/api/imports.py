"""`/import/backfill`: the endpoints of the Kintell runbook (seed S4), on top of import jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import islice
from subprocess import Popen
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from session_assets.api.launcher import Busy, Launcher, NotBegun
from session_assets.api.problems import documented
from session_assets.api.settings import ApiSettings
from session_assets.api.uploads import BODY, Upload, received
from session_assets.errors import LockHeld
from session_assets.graph.environment import Environment
from session_assets.kintell.assets import open_imports, options_of
from session_assets.kintell.error_file import error_lines
from session_assets.kintell.importing import DEFAULT_BATCH_SIZE
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job, UnknownJob
from session_assets.kintell.model import any_raw
from session_assets.kintell.uploads import receive, register
from session_assets.stores.kintell_rejects import reason_counts, rejects

JobId = Annotated[str, Path(alias="jobId", description="As `start` answered it.")]
_LINES = 1000
_NO_FILE = "The request brings no file. Send it in the field file, with a file name, as curl -F does."
_CREATED = "Backfill job created. Call resume endpoint to start processing."


class Created(BaseModel):
    """A job that waits for its resume."""

    jobId: str  # noqa: N815 - the names of the runbook
    fileName: str  # noqa: N815
    totalRows: int  # noqa: N815
    status: str
    message: str


class Status(BaseModel):
    """How far a job is. `successfulRows` = inserted + updated + skipped; counts are of what is committed."""

    jobId: str  # noqa: N815
    fileName: str  # noqa: N815
    totalRows: int  # noqa: N815
    processedRows: int  # noqa: N815
    successfulRows: int  # noqa: N815
    failedRows: int  # noqa: N815
    status: str = Field(description="pending, running, completed, failed or paused")
    percentComplete: int  # noqa: N815
    errorFilePath: str | None = Field(description="On the server. `errors` answers the same content.")  # noqa: N815
    message: str | None = Field(description="Why it failed, or what to do next.")


def router(settings: ApiSettings, launcher: Launcher) -> APIRouter:
    """The four routes, below whatever prefix they are given."""
    routes = APIRouter(tags=["import"])

    @routes.post("/start", responses=documented(400, 413, 415, 422, 429, 503), openapi_extra=BODY)
    async def start(request: Request) -> Created:
        """Upload a CSV file of sessions, plain or gzip. Its job is `pending`: nothing is imported before `resume`.

        Bytes that were uploaded before answer the job that they have.
        """
        imports = await run_in_threadpool(_imports)
        async with received(request, imports.copies, settings.max_upload_bytes) as upload:
            if upload is None:
                raise HTTPException(400, _NO_FILE)
            job = await run_in_threadpool(_register, imports, upload)
        message = _CREATED if job.status == "pending" else f"These bytes belong to a job that is {job.status} already."
        return Created(
            jobId=job.id, fileName=job.file_name, totalRows=job.total_rows, status=job.status, message=message
        )

    @routes.get("/{jobId}/status", responses=documented(404, 429, 503))
    def status(job_id: JobId) -> Status:
        """How far a job is."""
        return _status(_job(_imports(), job_id))

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

    @routes.post("/{jobId}/resume", responses=documented(400, 404, 409, 413, 415, 422, 429, 503), openapi_extra=BODY)
    async def resume(job_id: JobId, request: Request) -> Status:
        """Start a job, or go on with it, and wait some seconds for its end: then the answer says `running`.

        The file may be left out as long as the server has its copy. A job that is completed answers its status.
        """
        imports = await run_in_threadpool(_imports)
        job = await run_in_threadpool(_job, imports, job_id)
        async with received(request, imports.copies, settings.max_upload_bytes) as upload:
            process = await run_in_threadpool(_begin, launcher, imports, job, upload)
        if process is None:
            return _status(job)
        try:
            now = await run_in_threadpool(launcher.wait, job, process, settings.wait, imports.jobs.get)
        except NotBegun as error:
            raise HTTPException(409 if error.code == LockHeld.exit_code else 503, str(error)) from None
        return _status(now)

    return routes


def _begin(launcher: Launcher, imports: Imports, job: Job, upload: Upload | None) -> Popen[bytes] | None:
    """The process that works on a job; None where nothing is left to do."""
    if upload is not None:
        job.require_same(upload.source)
    if job.status == "completed":
        return None
    job.require_resumable()
    launcher.require_idle(job)
    if upload is not None:
        receive(imports, upload.draft, job, upload.source)
    elif imports.partition_of(job) is None:
        raise HTTPException(400, f"The server has no copy of {job.file_name} any more. Send it in the field file.")
    try:
        return launcher.start(job)
    except Busy as error:
        raise HTTPException(429, str(error), {"Retry-After": "30"}) from None


def _imports() -> Imports:
    return open_imports(Environment.load())


def _register(imports: Imports, upload: Upload) -> Job:
    options = options_of(imports.settings, None, DEFAULT_BATCH_SIZE, "update", max_rejected_share=None)
    return register(imports, upload.draft, upload.name, upload.source, options)


def _job(imports: Imports, job_id: str) -> Job:
    try:
        return imports.jobs.get(str(uuid.UUID(job_id)))
    except ValueError:
        raise UnknownJob("There is no such import job: its id is not one. `start` answers the id of a job.") from None


def _status(job: Job) -> Status:
    message = "Nobody works on it any more: resume it." if job.stuck else job.reason
    done = job.processed_rows * 100 // job.total_rows if job.total_rows else int(job.status == "completed") * 100
    return Status(
        jobId=job.id,
        fileName=job.file_name,
        totalRows=job.total_rows,
        processedRows=job.processed_rows,
        successfulRows=job.successful_rows,
        failedRows=job.failed_rows,
        status=job.status,
        percentComplete=done,
        errorFilePath=job.error_file_path,
        message=message,
    )


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    """Many lines at once: each piece is handed over between threads."""
    while piece := "".join(islice(lines, _LINES)):
        yield piece.encode()
