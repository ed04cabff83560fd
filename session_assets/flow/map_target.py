"""Which database a map of sessions to flows is of: files are moved by it, so a plan belongs to its map, too (E2).

A plan that was made from the map of one database would be applied after FLOW_DATABASE_URL was switched to another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from session_assets.changes.target import Known
from session_assets.errors import NotConfigured, PlanRefused
from session_assets.flow.evidence import known_database
from session_assets.flow.map_source import VARIABLE
from session_assets.flow.model import VARIABLE as DATABASE
from session_assets.graph.environment import Environment
from session_assets.masking import safe_text
from session_assets.stores.postgres import Database

STORED = "flow/session_flow_map"
"""The map that a plan of the migration leaves, as Parquet, and beside it as JSON which database it is of."""


@dataclass(frozen=True)
class MapTarget:
    """What a map is of: the id of a database, or the path of a file. `names` are all ids that were accepted as that database."""

    id: str
    shown: str
    names: frozenset[str]

    def as_dict(self) -> dict[str, str]:
        return {"id": self.id, "shown": self.shown}


def keep_target(environment: Environment, known: Known) -> None:
    """Note which database the stored map is of."""
    environment.storage.write_json(f"{STORED}.json", {"id": known.id, "shown": known.shown})


def map_target(environment: Environment, env: Mapping[str, str] | None = None) -> MapTarget:
    """What the map of the settings is of. Raises `PlanRefused` if the file and the database are not of one another."""
    env = os.environ if env is None else env
    now = _of_database(environment, env) if env.get(DATABASE) else None
    if not env.get(VARIABLE):
        if now is None:
            raise NotConfigured(DATABASE, f"The map of sessions to flows (or a file, {VARIABLE})")
        return now
    path = Path(env[VARIABLE]).resolve()
    beside = path.with_suffix(".json")
    if path.suffix != ".parquet" or not beside.exists():
        return MapTarget(f"file:{path}", f"the file {path}", frozenset([f"file:{path}"]))
    said = json.loads(beside.read_text(encoding="utf-8"))
    if now is not None and said["id"] not in now.names:
        raise PlanRefused(
            f"{VARIABLE} is the map of another database: {safe_text(said['shown'])}. {DATABASE} leads to {now.shown}. Nothing was"
            " looked at. Correct one of them, or run `session-assets plan flow` for a map of that database."
        )
    return now or MapTarget(said["id"], said["shown"], frozenset([said["id"]]))


def require_map(environment: Environment, plan_id: str, made_with: Mapping[str, str] | None) -> None:
    """Raises `PlanRefused` if a plan was made with the map of another database than that of the settings.

    Plans of version 0.1 do not say theirs, and take that of today.
    """
    if made_with is None:
        return
    now = map_target(environment)
    if made_with["id"] not in now.names:
        raise PlanRefused(
            f"plan {plan_id} was made with the map of {safe_text(made_with['shown'])}. The settings lead to the map of"
            f" {now.shown}. Nothing was looked at. Correct {DATABASE} or {VARIABLE}, or plan again: session-assets plan"
            " flow/files. If it is the same database, moved or renamed:"
            f" session-assets target accept {made_with['id']} {now.id} --note WHY"
        )


def _of_database(environment: Environment, env: Mapping[str, str]) -> MapTarget:
    known = known_database(environment, Database.from_env(DATABASE, env))
    return MapTarget(known.id, known.shown, known.names)
