"""`plan flow` prints what stands in the way before anything else, and `apply` does nothing then."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from session_assets_tests.flow.scenario import TABLES, Guide, unique
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


def test_missing_rights_are_named_in_the_terminal(cli: Terminal, stored: Guide) -> None:
    role = f"weak_{unique()}"
    stored.run(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = urlsplit(stored.url)
    weak = urlunsplit(url._replace(netloc=f"{role}:{role}@{url.netloc.rpartition('@')[2]}"))
    try:
        for command in ("plan", "apply"):
            ended = cli(command, "flow", FLOW_DATABASE_URL=weak)
            assert ended.code == 2 and ended.out.splitlines()[1] == "  schema public", ended
            assert (
                f"do:  GRANT CREATE ON SCHEMA public TO {role} (docs/flow/migration.md, Rights and settings)"
                in ended.out
            )
            assert f"  account {role} (of rehearsal)" in ended.out.splitlines()
        stored.run(f"GRANT CREATE ON SCHEMA public TO {role}; GRANT REFERENCES ON data_import_sessions TO {role}")
        for table in TABLES[1:]:
            stored.run(f"ALTER TABLE {table} OWNER TO {role}")
        plan = cli("plan", "flow", FLOW_DATABASE_URL=weak)
        assert plan.code == 0 and plan.out.startswith(f"1 obstacle:\n  account {role} (of rehearsal)\n"), plan
        assert cli("apply", "flow", FLOW_DATABASE_URL=weak).code == 0
        rehearsal = cli("apply", "flow/rehearsal", FLOW_DATABASE_URL=weak)
        assert (
            rehearsal.code == 2 and "Grant it CREATEDB (docs/flow/migration.md, Rights and settings)" in rehearsal.err
        )
    finally:
        stored.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


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
