"""A purge takes what old runs left, and nothing that says how things stand or that an undo needs."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from pydantic import ValidationError
from pymongo.database import Database

from session_assets.definitions import defs
from session_assets.errors import UsageError
from session_assets.graph.check_states import check_states, keys_of
from session_assets.graph.environment import Environment
from session_assets.housekeeping.definitions import PurgeConfig
from session_assets.housekeeping.ledgers import VARIABLE, LedgerPurgeConfig, days_kept, purge_storage
from session_assets.slices import slices
from session_assets.web.assets import SESSIONS
from session_assets_tests.alerts.conftest import Location
from session_assets_tests.web.acceptance.documents import DAYS, add_orphans, dump, fill, wipe

Web = Database[dict[str, Any]]


def config(**options: Any) -> dict[str, Any]:
    return {"ops": {"purge_old_runs": {"config": options}}}


def standing(location: Location) -> Any:
    """What Dagster says of partitions and checks."""
    graph: Any = defs.get_repository_def().asset_graph
    key = SESSIONS.key("sessions")
    made = location.instance.get_materialized_partitions(key)
    return made, [(one.name, one.passed, one.count) for one in check_states(location.instance, keys_of([key], graph))]


def rows(query: LiteralString, *values: Any) -> int:
    url = os.environ["DAGSTER_POSTGRES_URL"].replace("+psycopg2", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, values)
        found = cursor.fetchone() if cursor.description else None
        return int(found[0]) if found else cursor.rowcount


def test_old_runs_leave_no_log_but_everything_that_matters(location: Location, web: Web) -> None:
    home = Path(os.environ["SESSION_ASSETS_HOME"]) / "storage"
    fill(web, sessions=8)
    add_orphans(web, 2)
    before = dump(web)
    (request,) = location.asked("web_daily_verify")
    assert location.run("web_apply", request.tags) and location.run("web_verify", request.tags)
    rows("UPDATE runs SET end_time = end_time - 100 * 86400")
    assert location.run("web_verify", request.tags)
    found, files = standing(location), sorted((home / "ledger").rglob("*"))
    lines = rows("SELECT count(*) FROM event_logs")
    lists = sorted((home / "web/findings/checks").iterdir())

    assert location.run("purge_old", config=config(dry_run=True))
    assert rows("SELECT count(*) FROM event_logs") > lines
    assert sorted((home / "web/findings/checks").iterdir()) == lists

    assert location.run("purge_old", config=config(dry_run=False))
    assert rows("SELECT count(*) FROM event_logs e JOIN runs r USING (run_id) WHERE end_time < %s", _past()) < lines / 2
    assert len(list((home / "web/findings/checks").iterdir())) == len(lists) - 1
    assert len(list((home / "runs").iterdir())) == 1
    assert (standing(location), sorted((home / "ledger").rglob("*"))) == (found, files)
    plan = next((home / "ledger/web/plans").iterdir()).stem
    undo = {"ops": {"revert_web_plan": {"config": {"loop": "web", "plan_id": plan}}}}
    assert location.run("web_revert", config=undo) and dump(web) == before

    wipe(web, [web.sessions.find_one({"pages": {"$ne": []}})["session_id"]])  # pyright: ignore[reportOptionalSubscript]
    assert location.run("web_apply", request.tags)
    kept = sorted((home / "ledger").rglob("*"))
    assert location.run("purge_ledgers", config=ledgers(dry_run=False))  # nobody said for how many days
    assert location.run("purge_ledgers", config=ledgers(dry_run=False, keep_days=7))  # nothing is as old
    storage, later = Environment.load().storage, datetime.now(UTC) + timedelta(days=1)
    loops = [loop for slice_ in slices().values() for loop in slice_.loops]
    listed = purge_storage(storage, loops, later, dry_run=True).plans
    assert [(name, one.plan_id) for name, one in listed] == [("web", plan)]
    ledger = SESSIONS.loop.ledger(Environment.load())
    with SESSIONS.loop.lock(ledger, [DAYS[0].date().isoformat()], "test"):
        held = purge_storage(storage, loops, later, dry_run=False)
        assert (held.plans, len(held.left)) == ([], 1) and "locked by" in held.left[0]
        chosen = {"sessions": [*web.sessions.distinct("session_id")], "command": "plan"}
        assert not location.run("web_session", config={"ops": {"repair_web_sessions": {"config": chosen}}})
    assert sorted((home / "ledger").rglob("*")) == kept
    assert purge_storage(storage, loops, later, dry_run=False).plans == listed
    assert not location.run("web_revert", config=undo)
    newest = next(one.stem for one in (home / "ledger/web/plans").iterdir())
    undo["ops"]["revert_web_plan"]["config"]["plan_id"] = newest
    assert location.run("web_revert", config=undo)


def ledgers(**options: Any) -> dict[str, Any]:
    return {"ops": {"purge_old_plans": {"config": options}}}


def test_the_days_that_ledgers_are_kept_are_a_week_at_least() -> None:
    assert [days_kept({}), days_kept({VARIABLE: ""}), days_kept({VARIABLE: "30"})] == [None, None, 30]
    for wrong in ("6", "-1", "all"):
        with pytest.raises(UsageError, match=VARIABLE):
            days_kept({VARIABLE: wrong})


def _past() -> float:
    return time.time() - 50 * 86400


@pytest.mark.parametrize("config_of", [PurgeConfig, LedgerPurgeConfig])
def test_days_that_make_no_sense_are_refused(config_of: type[PurgeConfig | LedgerPurgeConfig]) -> None:
    for days in (-1, 0, 6, 10**9):
        with pytest.raises(ValidationError, match="keep_days"):
            config_of(keep_days=days)


def test_a_week_is_kept_whatever_is_asked(location: Location) -> None:
    assert not location.run("purge_old", config=config(keep_days=1))
