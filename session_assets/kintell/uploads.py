"""Files that come as uploads: nothing of them is named after what somebody else calls them.

A draft is a file in the folder of private copies that we wrote ourselves; it becomes the private copy, or stays a draft.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from session_assets.kintell.attempt import Options
from session_assets.kintell.files import Taken
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job, Source
from session_assets.kintell.reader import CsvFile, encoding_of
from session_assets.masking import safe_text
from session_assets.stores.kintell_preflight import make_ready

_NAME = "upload"


def register(
    imports: Imports, draft: Path, file_name: str, source: Source, options: Options, asked: Mapping[str, Any]
) -> Job:
    """The pending job of an upload, with its number of rows; or the job that its bytes have already. Imports nothing.

    `asked` are the options that came with the file: the job remembers them for its resume. Raises `BadInput` for what is no CSV
    file of sessions, without making a job, and `PreflightFailed`.
    """
    make_ready(imports.database, imports.settings.home, source.byte_size)
    imports.sweep()
    known = imports.jobs.find(source)
    if known is not None:
        imports.jobs.require_own(known)
    if known is not None and known.status != "pending":
        if known.status != "completed" or imports.jobs.outstanding(known).any:
            receive(imports, draft, known, source)
        return imports.jobs.ask(known, asked) if asked and known.state != "running" else known
    encoding = encoding_of(draft, options.encoding or options.usual_encoding)
    file = CsvFile(draft, encoding=encoding, name=safe_text(file_name))
    header: list[str] = []
    for found, _ in file.frames():
        header = found.own_names
    job = imports.jobs.start(file_name, source)
    receive(imports, draft, job, source)
    if job.status != "pending":  # somebody was quicker
        return job
    imports.jobs.ask(job, asked)
    return imports.jobs.describe(job, total_rows=file.rows, header=header, encoding=encoding)


def receive(imports: Imports, draft: Path, job: Job, source: Source) -> Taken:
    """Make a draft the private copy that a job is imported from. Raises `SourceChanged` where its bytes are not the job's."""
    job.require_same(source)
    copy = imports.copies / f"{source.sha256[:12]}-{_NAME}"
    draft.replace(copy)
    taken = Taken(f"{_NAME}@{source.sha256[:12]}", job.file_name, source.sha256, source.byte_size, str(copy))
    imports.note(taken)
    return taken
