"""Answers how a user performed by topic and by difficulty, from the stored assets."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from session_assets.contest.model import SLICE
from session_assets.contest.performance import NAMES, of_user, schema_of
from session_assets.errors import BadInput
from session_assets.storage import Storage


def user_performance(storage: Storage, username: str, kind: str, since: date | None = None) -> dict[str, Any]:
    """`username`, `months`, and a row each topic (`kind` topics) or difficulty (`difficulties`), the most attempted first.

    Months from that of `since` on. Nothing for somebody without sessions. Raises `BadInput` where nothing is stored so far.
    """
    asset = f"{NAMES[kind]}_performance"
    months = [name.removeprefix("month=") for name in storage.names(f"{SLICE}/{asset}")]
    if not months:
        raise BadInput(
            f"{SLICE}/{asset} holds nothing so far: materialize it (job contest_performance), then ask again."
        )
    first = f"{since:%Y-%m-01}" if since else ""
    wanted = [month for month in months if month >= first]
    frames = [storage.read_parquet(f"{SLICE}/{asset}/month={month}/part-0.parquet") for month in wanted]
    rows = of_user(pl.concat([pl.DataFrame(schema=schema_of(kind)), *frames]), username, kind)
    return {"username": username, "months": [month[:7] for month in wanted], kind: rows.to_dicts()}
