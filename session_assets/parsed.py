"""What a stored file says; one that cannot be read as what it claims to be is told as damaged, with its name."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from session_assets.disk import number_of
from session_assets.errors import DamagedFile


def parsed_json(name: str, content: bytes) -> Any:
    """What a JSON file says. Raises `DamagedFile` if it is none."""
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError):
        raise DamagedFile(name, "it is no JSON" if content else "it is empty") from None


def parsed_parquet(name: str, source: bytes | str) -> pl.DataFrame:
    """The frame in a Parquet file, given as its bytes or its path. Raises `DamagedFile` if it is none."""
    try:
        return pl.read_parquet(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if number_of(error) is not None:
            raise
        raise DamagedFile(name, "it is no Parquet file, or cut") from None
