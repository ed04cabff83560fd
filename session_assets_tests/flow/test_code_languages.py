from __future__ import annotations

import pytest

from session_assets_tests.flow.test_code_python import scanned, seen

ID, STRING, COMMENT = "identifier", "string", "comment"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("const a = `of session_id ${session_id /* session_id */} end`;", [STRING, ID, COMMENT]),
        ("const r = /session_id\\/[/]/g; const b = a / session_id / 2;", [STRING, ID]),
        ("const a = 'it\\'s // session_id'; // session_id", [STRING, COMMENT]),
        ("a = {session_id, 'session_id': b.session_id, [session_id]: c?.session_id}", [ID, STRING, ID, ID, ID]),
        ("a = 'session\\u005fid'; session\\u005fid = `session\\x5fid`", [STRING, ID, STRING]),
        ("class A { #session_id = 1; }\n/* session_id\n * session_id */", [ID, COMMENT]),
        ("a = `x ${`inner ${session_id}`} session_id`", [ID, STRING]),
        ("a = b\n/session_id/g", [ID]),
        ("sessionId = session_i + 'session id'", []),
    ],
)
def test_javascript_by_its_own_tokens(source: str, expected: list[str]) -> None:
    for language in ("javascript", "typescript", "tsx"):
        assert sorted(kind for kind, *_ in seen(source, language)) == sorted(expected), language


def test_jsx_and_types() -> None:
    jsx = "a = <b session_id='session_id {x}'>it's session_id {/* session_id */} {o.session_id}</b>"
    assert sorted(kind for kind, *_ in seen(jsx, "tsx")) == sorted([ID, STRING, STRING, COMMENT, ID])
    assert [kind for kind, *_ in seen("type T = `session_id ${session_id}`; ({a: {session_id}} = x)", "tsx")] == [
        STRING,
        ID,
        ID,
    ]
    assert [kind for kind, *_ in seen("type T = {session_id?: string}; let x = <session_id>y", "typescript")] == [
        ID,
        ID,
    ]


def test_a_script_is_read_on_behind_a_syntax_error() -> None:
    found = scanned("session_id = 1\nlet = = }\n// session_id\n", language="typescript")
    assert (found.reason, found.line) == ("syntax_error", 2)
    assert [(hit.kind, hit.line) for hit in found.hits] == [(ID, 1), (COMMENT, 3)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('-- session_id\nSELECT session_id, s.SESSION_ID, "session_id", "SESSION_ID" FROM t', [COMMENT, ID, ID, ID]),
        ("/* a /* session_id */ session_id */ SELECT 'session_id'", [COMMENT, STRING]),
        ("SELECT 'it''s session_id', E'a\\'session_id' -- session_id", [STRING, STRING, COMMENT]),
        ("SELECT E'session\\x5fid', U&'session\\005fid', 'session\\x5fid'", [STRING, STRING]),
        ('SELECT U&"session\\005fid", `session_id`, [session_id]', [ID, ID, ID]),
        ("DO $$ BEGIN x := session_id; -- session_id\n y := $a$session_id$a$; END $$", [ID, COMMENT, STRING]),
        ("CREATE FUNCTION f() RETURNS text AS $f$ SELECT session_id $f$ LANGUAGE sql", [ID]),
        ("SELECT $q$ -- session_id $q$, a ->> 'session_id', :session_id", [STRING, STRING, ID]),
        ("EXECUTE run(session_id); COMMENT ON COLUMN t.session_id IS 'of session_id'", [ID, ID, STRING]),
        ("SELECT 'SESSION_ID', 1 -- SESSION_ID", []),
    ],
)
def test_sql_by_the_tokens_of_postgresql(source: str, expected: list[str]) -> None:
    assert [kind for kind, *_ in seen(source, "sql")] == expected


def test_sql_is_read_up_to_a_string_that_is_never_closed() -> None:
    found = scanned("SELECT session_id;\nSELECT 'session_id", language="sql")
    assert (found.reason, found.line, len(found.hits)) == ("syntax_error", 2, 1)


def test_lines_are_those_of_the_name() -> None:
    assert seen("a = `\n\nsession_id`", "javascript")[0][1] == 3
    assert seen("SELECT 1;\n\n\nDO $$\nBEGIN session_id; END $$", "sql")[0][1] == 5
