"""`plan flow` prints what stands in the way before anything else, and `apply` does nothing then."""

from __future__ import annotations

from pathlib import Path

from session_assets_tests.flow.scenario import Guide
from session_assets_tests.flow.test_description import GUIDE
from session_assets_tests.web.acceptance.terminal import Terminal


def test_a_plan_prints_obstacles_first(cli: Terminal, stored: Guide) -> None:
    stored.run(
        "CREATE VIEW report AS SELECT session_id FROM assets;"
        " ALTER TABLE discovery_flows ADD CHECK (status <> 'migrated')"
    )
    plan = cli("plan", "flow")
    assert plan.code == 2, plan
    assert plan.out.splitlines()[:4] == [
        "2 obstacles:",
        "  view report",
        "    why: view report depends on assets.session_id",
        "    do:  Remove what stands in the way, then plan again",
    ]
    assert plan.err == "error: This schema cannot be migrated as it is: see its obstacles above. Nothing was changed.\n"
    (view, check) = cli("apply", "flow", "--json").body["obstacles"]
    assert (view["object"], check["blocks"]) == ("view report", "apply")
    assert not stored.all("SELECT FROM pg_class WHERE relname LIKE 'session_assets%'")
    stored.run("DROP VIEW report; ALTER TABLE discovery_flows DROP CONSTRAINT discovery_flows_status_check")
    assert cli("plan", "flow", "--json").body["obstacles"] == []


def test_a_wrong_description_fails_the_commands_that_need_it_and_nothing_else(cli: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(GUIDE.replace("fate: archive", "fate: keep").replace("key: id", "kee: id"))
    for command in (
        ("plan", "flow"),
        ("verify", "flow"),
        ("apply", "flow"),
        ("plan", "flow/contract"),
        ("verify", "flow/metrics"),
    ):
        ended = cli(*command, FLOW_SCHEMA=str(file))
        assert ended.code == 2 and ended.err.count("schema.yaml, line ") == 3, (command, ended)
        assert "line 21: linked[2].fate: it must be 'archive', 'fill' or 'replace', not 'keep'." in ended.err
    assert cli("jobs", FLOW_SCHEMA=str(file)).code != 1
    file.write_text(GUIDE.replace("table: assets", "table: asets"))
    plan = cli("plan", "flow", FLOW_SCHEMA=str(file))
    assert plan.out.splitlines()[:2] == ["1 obstacle:", "  asets"]
    assert (
        f"do:  Change linked[0].table ({file}, line 19), or correct the database that FLOW_DATABASE_URL names"
        in plan.out
    )
