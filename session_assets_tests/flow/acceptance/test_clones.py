"""Steps belong to the database on which they were done: a clone is refused until somebody accepts it."""

from __future__ import annotations

import re

import psycopg

from session_assets_tests.conftest import with_database
from session_assets_tests.flow.scenario import Guide, contracted
from session_assets_tests.flow.test_kills import state
from session_assets_tests.web.acceptance.terminal import Terminal


def cloned(server: str, guide: Guide, name: str) -> Guide:
    source = guide.one("SELECT current_database()")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())
    return Guide(with_database(server, name), guide.planted)


def test_a_step_is_not_undone_on_a_clone(cli: Terminal, stored: Guide, postgres_server: str, clone_name: str) -> None:
    before = state(stored)
    step = cli("apply", "flow", "--json").body["plan_id"]
    clone = cloned(postgres_server, stored, clone_name)
    there = state(clone)
    on_clone = Terminal(cli.home, {**cli.variables, "FLOW_DATABASE_URL": clone.url}, cli.streams)
    for command in (("revert", "flow", "--plan-id", step), ("apply", "flow"), ("plan", "flow/contract")):
        refused = on_clone(*command)
        assert refused.code == 2, refused
        assert "was done on another database" in refused.err and clone_name in refused.err
    assert state(clone) == there
    accept = re.search(r"target accept (\w+) (\w+)", refused.err)
    assert accept
    done = on_clone("target", "accept", accept[1], accept[2], "--note", "restored")
    assert done.code == 0, done
    assert on_clone("revert", "flow", "--plan-id", step).code == 0
    assert cli("revert", "flow", "--plan-id", step).code == 0
    expand = stored.one("SELECT id FROM session_assets_flow_steps WHERE kind = 'expand'")
    assert cli("revert", "flow", "--plan-id", expand).code == 0
    assert state(stored) == before


def test_steps_of_version_0_1_are_of_the_database_that_they_are_found_in(stored: Guide) -> None:
    flow = stored.flow()
    flow.apply()
    stored.run("ALTER TABLE session_assets_flow_steps DROP COLUMN target")
    with flow.reading() as work:
        assert {one.target for one in work.steps.all()} == {None}
    assert [one.name for one in flow.gates()] == ["rehearsal_missing"]
    with flow.reading() as work:
        assert {one.target.database for one in work.steps.all() if one.target} == {
            stored.one("SELECT current_database()")
        }


def test_a_staging_record_that_another_database_made_does_not_count(
    stored: Guide, postgres_server: str, clone_name: str
) -> None:
    done = stored.flow()
    contracted(done)
    clone = cloned(postgres_server, stored, clone_name)
    step = stored.one("SELECT id FROM session_assets_flow_steps WHERE kind = 'contract'")
    done.undo(step)
    done.apply()
    done.rehearse(lambda _: {})
    flow = stored.flow(waived_by=None)
    flow.staging = clone.flow().database
    (gate,) = flow.gates()
    assert gate.name == "staging" and "was done on another database" in gate.reason
