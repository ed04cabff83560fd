"""Documents with the facts of their session, as the steps of a run hand them on."""

from __future__ import annotations

import polars as pl

from session_assets.web.model import FACT_COLUMNS, SESSION_COLUMNS

COLLECTED = pl.Schema({**SESSION_COLUMNS, **FACT_COLUMNS, "login": pl.Boolean})
"""Documents with the facts of their session; `login` only for documents without a session_id."""


def collected(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame with the columns of `COLLECTED`, those that it lacks as nulls."""
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in COLLECTED.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in COLLECTED.items())
