"""FLOW_SCHEMA: what a file may say, and how each fault is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from session_assets.errors import UsageError
from session_assets.flow.description import described, migration
from session_assets.flow.description_model import json_schema
from session_assets.flow.model import MIGRATION
from session_assets.flow.table_names import parts, quoted, written

FILE = Path(__file__).parents[2] / "docs" / "schemas" / "flow.schema.json"
GUIDE = """\
sessions: {table: data_import_sessions, key: id, title: session_name, created: created_at}
flows:
  table: discovery_flows
  flow: flow_id
  session: import_session_id
  created: created_at
  status: status
  scope: [client_account_id, engagement_id]
  active: [active, running, in_progress, processing, executing, started, resuming, initializing]
  uuids: [id]
  literals:
    status: migrated
    progress_percentage: "100"
    user_id: session_assets
    flow_description: Made for an import session that had no flow.
    crewai_state_data: "{}"
  titled: {column: flow_name, template: "Migration Flow: {}"}
linked:
  - {table: assets, old: session_id, fate: fill, fallback: created_at, on_delete: SET NULL}
  - {table: access_audit_log, old: session_id, fate: fill}
  - {table: flow_deletion_audit, old: session_id, fate: archive, named: false}
  - {table: llm_usage_logs, old: session_id, fate: replace, holds_flow_ids: true}
"""


def told(tmp_path: Path, text: str) -> str:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        described({"FLOW_SCHEMA": str(tmp_path / "s.yaml")})
    return str(raised.value)


def test_a_file_that_says_what_the_guide_says_is_the_same_description(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GUIDE)
    assert migration({"FLOW_SCHEMA": str(tmp_path / "s.yaml")}) == migration({}) == MIGRATION


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    env = {"FLOW_SCHEMA": str(tmp_path / "s.yaml")}
    (tmp_path / "s.yaml").write_text(GUIDE)
    assert described(env).where("flows", "scope", 1).endswith("s.yaml, line 8)")
    (tmp_path / "s.yaml").write_text("# a comment\n" + GUIDE.replace("key: id", "key: number"))
    assert migration(env) == replace(MIGRATION, sessions=replace(MIGRATION.sessions, key="number"))
    assert described(env).where("flows", "scope", 1).endswith("s.yaml, line 9)")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  scope:", "  scop:", "line 8: flows.scop: unknown field. Known are table, flow, session, created, status, scope"),
        ("  scope:", "  scop:", "line 2: flows.scope: it is missing. Add it."),
        ("fate: archive", "fate: keep", "line 21: linked[2].fate: it must be 'archive', 'fill' or 'replace', not 'keep'."),
        ("fate: archive", "fat: keep", "line 21: linked[2].fat: unknown field. Known are table, old, fate"),
        ('"100"', "100", "line 13: flows.literals.progress_percentage: it must be a text, not 100; put it in quotes"),
        ("key: id", "key: on", "line 1: sessions.key: it must be a text, not True; put it in quotes"),
        ("named: false", "named: 0", "line 21: linked[2].named: it must be true or false, not 0."),
        ("SET NULL", "CASCADE", "line 19: linked[0].on_delete: it must be SET NULL or NO ACTION, not 'CASCADE'."),
        ("Flow: {}", "Flow", "line 17: flows.titled.template: it must hold {} once"),
        ("table: assets", "table: a.b.c", "line 19: linked[0].table: 'a.b.c' is no name of a table: write table or schema.table"),
        ("table: assets", "table: access_audit_log", "access_audit_log is described twice"),
        ("fate: archive", "fate: archive, fallback: created_at", "line 21: linked[2]: fallback fills flow ids"),
        ("[id]", "[id, flow_id]", "line 2: flows: flow_id would be filled twice"),
        ("[client_account_id, engagement_id]", "[]", "fallback needs flows.scope"),
        ("status: status", 'status: "?"', "line 7: flows.status: answer the question that stands above it."),
        ("table: assets", "table: as%ts", "line 19: linked[0].table: a name with a percent sign cannot be migrated: rename it"),
        ("key: id", 'key: "%s"', "line 1: sessions.key: a name with a percent sign cannot be migrated: rename it first."),
        ("key: id", 'key: ""', "line 1: sessions.key: it must be a text that is not empty, not ''."),
        (GUIDE.partition("linked:")[2], " []", "line 18: linked: it must be a list of at least one, not []."),
        ("  uuids: [id]", "  flow: x", "line 10: flows.flow: it is there twice. Remove one of them."),
        ("old: session_id, fate: replace", "old: flow_id, fate: replace", "line 22: linked[3]: old and flow are the same column"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GUIDE
    text = told(tmp_path, GUIDE.replace(old, new))
    assert said in text and "s.yaml" in text and text.startswith("FLOW_SCHEMA: ")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = told(tmp_path, GUIDE.replace("key: id", "kee: id").replace("fate: fill", "fate: fil"))
    assert [line.count("s.yaml, line ") for line in text.splitlines()] == [1] * 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold sessions, flows and linked"),
        ("- a", "must hold"),
        ("a: [", "not YAML"),
        ("a: &x [*x]", "s.yaml, line "),
        ("a: 2024-13-45", "not YAML: month must be in 1..12"),
        ("? [a]\n: b", "not YAML"),
    ],
)
def test_a_file_that_is_no_description(tmp_path: Path, text: str, said: str) -> None:
    assert said in told(tmp_path, text)


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FLOW_SCHEMA: .*none\.yaml cannot be read: No such file"):
        described({"FLOW_SCHEMA": str(tmp_path / "none.yaml")})


def test_names_of_tables_are_written_one_way() -> None:
    assert [parts(one) for one in ("Visits", "app.Visits", '"a.b"."c""d"', 'app."Rows"', "with blank")] == [
        (None, "Visits"), ("app", "Visits"), ("a.b", 'c"d'), ("app", "Rows"), (None, "with blank"),
    ]  # fmt: skip
    assert quoted('app."c""d"') == '"app"."c""d"'
    assert [written(*parts(one)) for one in ('app."Rows"', '"a.b".c', '"c""d"')] == ["app.Rows", '"a.b".c', '"c""d"']
    for wrong in ("", ".", "a.", ".a", "a.b.c", '"a', 'a"b', "x" * 64):
        with pytest.raises(ValueError, match=r"no name of a table|longer than 63 bytes"):
            parts(wrong)


def test_the_json_schema_in_the_docs_is_that_of_the_model() -> None:
    assert json.loads(FILE.read_text()) == json_schema()
