"""The twin as a person meets it: `plan` names obstacles, `apply` and contract ask for the try, nothing is left behind."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from session_assets_tests.flow.scenario import Guide
from session_assets_tests.flow.twin.schemas import CASES
from session_assets_tests.web.acceptance.terminal import KILLED, Terminal

_TWINS = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"


def twins_of(server: psycopg.Connection, pid: int) -> set[str]:
    """Other tests make twins on the same server: those of one process."""
    return {name for (name,) in server.execute(_TWINS, [f"session_assets_twin_{pid}_"]).fetchall()}


def test_an_obstacle_is_named_first_and_nothing_is_written(cli: Terminal, stored: Guide) -> None:
    stored.run(CASES["trigger that names the column"].sql)
    catalogue, rows = stored.catalogue(), stored.rows()
    plan = cli("plan", "flow")
    assert plan.code == 1, plan
    told = plan.out.splitlines()
    assert re.search(r"OBSTACLE: PL/pgSQL function told\(\): .* fails at contract \(42703\)", plan.out)
    assert told.index(next(one for one in told if one.startswith("OBSTACLE"))) < told.index(
        next(one for one in told if "flows would be made" in one)
    )
    assert "Next: session-assets apply flow" not in plan.out
    applied = cli("apply", "flow", "--json")
    assert applied.code != 0
    assert "1 obstacles were met. Nothing was changed." in applied.err + str(applied.body)
    assert (stored.catalogue(), stored.rows()) == (catalogue, rows)
    assert not stored.all("SELECT FROM pg_class WHERE relname LIKE 'session_assets%'")


def test_there_and_back_with_every_gate(cli: Terminal, stored: Guide) -> None:
    plan = cli("plan", "flow", "--json")
    assert plan.code == 0, plan
    assert plan.check("no_obstacles")["passed"]
    twin = plan.body["twin"]
    assert twin["obstacles"] == [] and twin["stages"]["contract"] > 50 and sum(twin["rows"].values()) > 900
    applied = cli("apply", "flow", "--json")
    assert applied.code == 0, applied
    assert cli("apply", "flow/rehearsal").code == 0
    stored.run("ALTER TABLE assets ADD extra text")
    gates = cli("plan", "flow/contract", "--json")
    assert {one["name"] for one in gates.body["gates"]} == {
        "staging", "rehearsal_of_another_schema", "twin_of_another_schema"
    }  # fmt: skip
    stored.run("ALTER TABLE assets DROP extra")
    assert {one["name"] for one in cli("plan", "flow/contract", "--json").body["gates"]} == {"staging"}
    record = cli.home / "storage" / "flow" / "twin.json"
    told = record.read_text()
    record.write_text(json.dumps({**json.loads(told), "target": "another"}))
    gates = cli("plan", "flow/contract", "--json")
    assert {one["name"] for one in gates.body["gates"]} == {"staging", "twin_of_another_database"}
    record.write_text(told)
    contract = cli("apply", "flow/contract", "--waive-staging", "a test", "--json")
    assert contract.code == 0, contract
    for step in (contract, applied):
        assert cli("revert", "flow", "--plan-id", step.body["plan_id"]).code == 0


def test_what_must_be_deployed_first_is_acknowledged_by_its_digest(
    cli: Terminal, stored: Guide, tmp_path: Path
) -> None:
    probes = tmp_path / "probes.sql"
    probes.write_text(
        "SELECT session_id FROM assets; -- an old one\nUPDATE assets SET name = 'a;b' WHERE name = 'nobody';\n"
        "SELECT no_such FROM assets"
    )
    stored.run(CASES["function that names the column"].sql)
    cli.options["FLOW_PROBE_SQL"] = str(probes)
    assert cli("apply", "flow").code == 0
    assert cli("apply", "flow/rehearsal").code == 0
    refused = cli("apply", "flow/contract", "--waive-staging", "a test", "--json")
    assert refused.code == 1
    (gate,) = refused.body["gates"]
    assert gate["name"] == "must_be_deployed"
    assert "function assets_of(uuid) names assets.session_id" in gate["reason"]
    assert "FLOW_PROBE_SQL 1: SELECT session_id FROM assets" in gate["reason"]
    found = re.search(r"--deployed ([0-9a-f]{8})", gate["next_step"])
    assert found is not None
    assert cli("apply", "flow/contract", "--waive-staging", "a test", "--deployed", "00000000").code == 1
    done = cli("apply", "flow/contract", "--waive-staging", "a test", "--deployed", found[1])
    assert done.code == 0, done


def test_who_does_without_is_recorded(cli: Terminal, stored: Guide) -> None:
    stored.run(CASES["function that names the column"].sql)
    assert cli("apply", "flow", "--waive-twin", "Ann").code == 0
    waived = stored.one("SELECT counts ->> 'twin_waived_by' FROM session_assets_flow_steps WHERE kind = 'expand'")
    assert waived == "Ann"
    plan = cli("plan", "flow", "--json", FLOW_WAIVE_TWIN="Ann")
    assert plan.code == 0
    check = plan.check("no_obstacles")
    assert (check["passed"], check["severity"]) == (False, "WARN"), "nothing was tried, so nothing is green"
    assert cli("verify", "flow", "--waive-twin", "Ann").code == 2


def test_the_scratch_server_is_not_the_database_itself(cli: Terminal, stored: Guide) -> None:
    answer = cli("plan", "flow", FLOW_SCRATCH_URL=stored.url)
    assert answer.code == 2
    assert "FLOW_SCRATCH_URL leads to the very database that is migrated" in answer.err


def test_probes_do_not_control_transactions(cli: Terminal, tmp_path: Path) -> None:
    probes = tmp_path / "probes.sql"
    probes.write_text("SELECT 1;\nCOMMIT;\n")
    answer = cli("plan", "flow", FLOW_PROBE_SQL=str(probes))
    assert answer.code == 2
    assert "line 2: remove COMMIT" in answer.err


def test_a_twin_that_a_kill_left_is_dropped_by_the_next_command(
    cli: Terminal, stored: Guide, server: psycopg.Connection
) -> None:
    running = cli.start("plan", "flow", SESSION_ASSETS_FAILPOINTS="flow.twin.made=kill")
    assert running.wait().code == KILLED
    (left,) = twins_of(server, running.pid)
    old = re.sub(r"[0-9]+$", "1000000000", left)  # as if it were old enough
    stranger = f"{old}0"
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(stranger)))
    try:
        _when_free(server, left, old)
        assert cli("plan", "flow").code == 0
        assert twins_of(server, running.pid) == {stranger}, "what has no mark of ours is somebody else's"
    finally:
        server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(stranger)))


def _when_free(server: psycopg.Connection, name: str, other: str) -> None:
    """Rename a database as soon as the server has seen that its client is gone."""
    while server.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]).fetchone() != (0,):
        server.execute("SELECT pg_sleep(0.05)")
    server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(other)))


def test_the_real_database_is_only_read(cli: Terminal, stored: Guide, server: psycopg.Connection) -> None:
    name = stored.url.rpartition("/")[2]
    server.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(name)))
    assert cli("plan", "flow").code == 0


@pytest.mark.skipif(os.name != "posix", reason="the function runs a program")
def test_a_trigger_that_reaches_out_does_not_on_the_twin(cli: Terminal, stored: Guide, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    stored.run(
        f"""CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN COPY (SELECT 1) TO PROGRAM 'cat >> {outside}/seen'; RETURN NEW; END $$;
            CREATE TRIGGER told BEFORE INSERT OR UPDATE ON assets FOR EACH ROW EXECUTE FUNCTION told()"""
    )
    plan = cli("plan", "flow")
    assert plan.code == 0, plan
    assert [*outside.iterdir()] == []
    assert "note: trigger told on public.assets: is off on the twin, since its function may act outside" in plan.out
