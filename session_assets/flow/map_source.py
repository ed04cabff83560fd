"""Where the map of sessions to flows comes from: a file that FLOW_SESSION_MAP names, else the database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from session_assets.errors import BadInput, NotConfigured
from session_assets.flow import description
from session_assets.flow.model import VARIABLE as DATABASE
from session_assets.flow.session_map import SessionMap, canonical
from session_assets.masking import safe_lines, safe_text
from session_assets.stores.flow_compat import pairs
from session_assets.stores.postgres import Database

VARIABLE = "FLOW_SESSION_MAP"
_COLUMNS = ("session_id", "flow_id")


def load_map(env: Mapping[str, str] | None = None) -> SessionMap:
    """The map as it stands. Raises `NotConfigured`, `BadInput`, and what the database raises."""
    env = os.environ if env is None else env
    if env.get(VARIABLE):
        return SessionMap.of(_file(Path(env[VARIABLE])).iter_rows())
    if not env.get(DATABASE):
        raise NotConfigured(DATABASE, f"The map of sessions to flows (or a file, {VARIABLE})")
    return SessionMap.of(pairs(Database.from_env(DATABASE, env), description.migration(env)))


def _file(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(
            f"{VARIABLE}: the file cannot be read: {safe_lines(error).partition(chr(10))[0][:200]}"
        ) from None
    if missing := [name for name in _COLUMNS if name not in frame.columns]:
        raise BadInput(f"{VARIABLE}: the file has no column {missing[0]}. It needs {' and '.join(_COLUMNS)}.")
    found = frame.select(pl.col(name).cast(pl.String) for name in _COLUMNS)
    flows: dict[str, str] = {}
    for session, flow in map(partial(map, canonical), found.drop_nulls().iter_rows()):
        if flows.setdefault(session, flow) != flow:
            raise BadInput(f"{VARIABLE}: the file gives session {safe_text(session)} two flows. Keep the right one.")
    return found
