"""A schema that is not in the code goes there and back by FLOW_SCHEMA alone, from the first proposal to the last revert."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.flow.compat import NewFlow
from session_assets.flow.description import migration
from session_assets.stores.flow_compat import FlowTable
from session_assets.stores.flow_views import create_views, drop_views
from session_assets.stores.postgres import Database
from session_assets_tests.flow.journeys import Journeys
from session_assets_tests.flow.test_describe import answered
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Terminal

ANSWERS = [
    ("active: [", "Busy"),
    ("    run_state: ", "taken over"),
    ("fallback: ", "written"),
]


@pytest.fixture
def journeys(postgres_url: str) -> Journeys:
    return Journeys(postgres_url)


@pytest.fixture
def terminal(open_terminal: Open, journeys: Journeys) -> Terminal:
    return open_terminal(
        None,
        FLOW_DATABASE_URL=journeys.url,
        FLOW_BATCH_ROWS="60",
        FLOW_MAX_UNMAPPED_SHARE="1",
        SESSION_ASSETS_SETTLE_MINUTES="0",
    )


def test_visits_and_journeys_go_there_and_back(terminal: Terminal, journeys: Journeys, tmp_path: Path) -> None:
    rows, catalogue, wanted = journeys.rows(), journeys.catalogue(), journeys.wanted()
    asked = terminal("flow", "describe")
    assert asked.code == 2 and "--sessions TABLE" in asked.err
    file = tmp_path / "schema.yaml"
    proposed = terminal("flow", "describe", "--sessions", "app.Visits", "--out", str(file))
    assert proposed.code == 0, proposed
    unanswered = terminal("plan", "flow", FLOW_SCHEMA=str(file))
    assert unanswered.code == 2 and unanswered.err.count("answer the question") == 3, unanswered
    file.write_text(answered(file.read_text(), ANSWERS))
    terminal.options["FLOW_SCHEMA"] = str(file)

    plan = terminal("plan", "flow", "--json")
    assert (plan.code, plan.body["obstacles"], plan.body["to_make"]) == (0, [], 10), plan
    assert (
        plan.body["reasons"]["session_mapped"]
        + plan.body["reasons"]["session_created"]
        + plan.body["reasons"]["fallback"]
        == sum(flow is not None for _, _, flow in wanted) - 8
    )  # eight name a flow themselves
    assert journeys.rows() == rows and journeys.catalogue() == catalogue
    backfill = terminal("apply", "flow", "--json")
    assert backfill.code == 0, backfill
    assert journeys.found() == wanted
    assert terminal("verify", "flow").code == 0
    assert terminal("verify", "flow/metrics").code == 0
    assert terminal("apply", "flow/rehearsal").code == 0
    contract = terminal("apply", "flow/contract", "--waive-staging", "a test", "--json")
    assert contract.code == 0, contract
    assert journeys.found() == wanted
    left = journeys.all("SELECT FROM pg_attribute WHERE lower(attname) IN ('visit_ref', 'visitref') AND attnum > 0"
                        " AND NOT attisdropped AND attrelid::regclass::text !~ 'session_assets'")  # fmt: skip
    assert not left
    assert terminal("verify", "flow").code == 0
    _compatibility(journeys, file)

    steps = {one: name for name, one in journeys.all("SELECT id, kind FROM app.session_assets_flow_steps")}
    for step in (contract.body["plan_id"], backfill.body["plan_id"], steps["expand"]):
        undone = terminal("revert", "flow", "--plan-id", step)
        assert undone.code == 0, undone
    assert journeys.rows() == rows
    assert journeys.catalogue() == catalogue


def _compatibility(journeys: Journeys, file: Path) -> None:
    """Look-ups and views of the description after contract."""
    described = migration({"FLOW_SCHEMA": str(file)})
    database = Database("FLOW_DATABASE_URL", journeys.url)
    flows = FlowTable(database, described)
    assert (flows.flow_of("7"), flows.session_of("J-7/1"), flows.flow_of("no number")) == ("J-7/1", "7", None)
    made = flows.flow_of("6")
    assert made is not None and flows.session_of(made) == "6" and flows.is_flow(made)
    new = NewFlow("", "", "", columns={"org": "Org 1", "run_state": "new", "title": "made by the application"})
    own = flows.create(new)
    assert flows.is_flow(own) and flows.session_of(own) is None
    journeys.run(f"DELETE FROM app.journeys WHERE journey_key = '{own}'")
    names = create_views(database, described)
    assert set(names) == {
        f"session_assets_legacy.{name}" for name in ("journeys", "app.log", "Stats.log", "Page.Views", "closed")
    }
    assert journeys.all('SELECT visit_ref FROM session_assets_legacy."Stats.log" WHERE part = 1 AND line = 4') == [
        (15,)
    ]
    assert journeys.all("SELECT \"VisitRef\" FROM session_assets_legacy.journeys WHERE journey_key = 'J-7/1'") == [(7,)]
    drop_views(database)
