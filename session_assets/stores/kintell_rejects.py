"""`backfill_rejects` read back: the records of a job that were not imported, exactly as they stood in its file."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from session_assets.kintell.jobs import Job
from session_assets.kintell.model import REJECTED
from session_assets.stores.postgres import Database

_ROWS = """
    SELECT row, line, fields, raw, reasons, message FROM backfill_rejects WHERE job_id = %s AND row > %s ORDER BY row LIMIT %s
"""
_REASONS = """
    SELECT reason, count(*) FROM backfill_rejects CROSS JOIN unnest(reasons) AS reason WHERE job_id = %s
    GROUP BY reason ORDER BY 2 DESC, 1
"""


def rejects(database: Database, job: Job, *, page: int = 5000) -> Iterator[pl.DataFrame]:
    """REJECTED frames in file order, at most `page` rows each."""
    last = 0
    with database.connected("kintell rejects") as connection:
        while True:
            frame = pl.DataFrame(
                connection.execute(_ROWS, [job.id, last, page]).fetchall(), schema=REJECTED, orient="row"
            )
            if not frame.height:
                return
            yield frame
            last = frame["row"][-1]


def reason_counts(database: Database, job: Job) -> dict[str, int]:
    """How many of a job's records were rejected for each reason; a record counts for all of its reasons."""
    with database.connected("kintell rejects") as connection:
        return dict(connection.execute(_REASONS, [job.id]).fetchall())
