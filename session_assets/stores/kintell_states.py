"""States of jobs that the status alone does not tell: people set it by hand, as the runbook teaches.

The fragments are conditions over the columns of `backfill_jobs`.
"""

from __future__ import annotations

# A job of another program has no SHA-256, and no account of its rows. A job without a header has not read its file.
CUT_SHORT = """(
    status = 'completed' AND sha256 IS NOT NULL AND reason IS DISTINCT FROM 'rolled back'
    AND reason IS DISTINCT FROM 'rolling back' AND (header IS NULL OR coalesce(last_processed_row, 0) < coalesce(total_rows, 0))
)"""
"""Said to be completed, though not all rows of its file were read."""
STATUS = f"CASE WHEN {CUT_SHORT} OR reason IN ('rolled back', 'rolling back') THEN 'failed' ELSE status END"
REASON = f"""
    CASE WHEN {CUT_SHORT} THEN concat('It was set to completed by hand: ', coalesce(last_processed_row, 0), ' of ',
        CASE WHEN header IS NULL THEN 'its' ELSE total_rows::text END, ' rows were read.') ELSE reason END
"""
