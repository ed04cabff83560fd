"""Ids that are texts: exact among texts, one id in all spellings where the other side is a uuid. Every part agrees."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from session_assets.flow.model import made_flow_id
from session_assets.stores.flow_changes import Counted, changes, session_map
from session_assets.stores.flow_ids import CITEXT, EXACT, NUMBER, UUID, canonical, canonical_text
from session_assets_tests.conftest import with_database
from session_assets_tests.flow.scenario import Guide, Rows, contracted, downgraded, unique

_SPELLED = """
    CREATE FUNCTION spelled(id uuid, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE n % 4 WHEN 0 THEN upper(id::text) WHEN 1 THEN replace(id::text, '-', '')
            WHEN 2 THEN ' ' || id || E'\\t' ELSE replace(upper(id::text), '-', '') END $$;
    CREATE FUNCTION named(id uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE ascii(id::text) % 3 WHEN 0 THEN ' ABC-' || left(id::text, 8) WHEN 1 THEN upper(id::text)
            ELSE 'Abc-' || id END $$;
    CREATE FUNCTION plain(id text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN id::uuid END $$;
    ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey;
    ALTER TABLE access_audit_log DROP CONSTRAINT access_audit_log_session_id_fkey;
    ALTER TABLE data_import_sessions DROP CONSTRAINT data_import_sessions_parent_session_id_fkey;
"""
_KEY = "ALTER TABLE data_import_sessions ALTER id DROP DEFAULT, ALTER id TYPE varchar(60) USING {0}(id{1});"
_FLOWS = "ALTER TABLE discovery_flows ALTER import_session_id TYPE text USING {0}(import_session_id{1});"
_LINKED = """
    ALTER TABLE assets ALTER session_id TYPE text USING {0}(session_id{1});
    ALTER TABLE access_audit_log ALTER session_id TYPE char(60) USING {0}(session_id{1});
    UPDATE llm_usage_logs SET session_id =
        coalesce({0}((SELECT s.id FROM before s WHERE s.id = plain(session_id)){2}), session_id);
"""
_FLOW_IDS = "UPDATE llm_usage_logs SET session_id = upper(session_id) WHERE EXISTS (SELECT FROM discovery_flows f" \
    " WHERE f.flow_id::text = session_id)"  # fmt: skip
_ODD = ("%s", " ABC ", "Abc", "007", "7", " 7\t", "9" * 19, "١٢", "ﬀ", "{d3a1}", "d3a10000-5e55-5A55-8e75-f10e1d000003",
        "D3A100005E555A558E75F10E1D000003", " d3a100005e555a558e75f10e1d000003 ", "d3a1-00005e555a558e75f10e1d000003",
        "\u00a0d3a100005e555a558e75f10e1d000003", "d3a100005e555a558e75f10e1d00000Ａ")  # fmt: skip


@pytest.fixture
def second_guide(postgres_server: str) -> Iterator[Guide]:
    """The same rows with ids that are uuids."""
    name = f"test_{unique()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield Guide.new(with_database(postgres_server, name))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _texts(guide: Guide) -> None:
    """All ids of sessions are texts, the same in each table."""
    deletions = "ALTER TABLE flow_deletion_audit ALTER session_id TYPE text USING {0}(session_id{1});"
    guide.run("".join(one.format("named", "", "") for one in (_KEY, _FLOWS, _LINKED, deletions)))


def _texts_of_uuid_flows(guide: Guide) -> None:
    """Sessions and rows spell ids each in its own way; flows name them as uuids."""
    guide.run(_KEY.format("spelled", ", ascii(id::text)"))
    guide.run(_LINKED.format("spelled", ", ascii(session_id::text) + 1", ", ascii(session_id) + 2"))


def _texts_of_uuid_sessions(guide: Guide) -> None:
    """Flows and rows spell ids of uuid sessions each in its own way."""
    guide.run(_FLOWS.format("spelled", ", ascii(import_session_id::text)"))
    guide.run(_LINKED.format("spelled", ", ascii(session_id::text) + 1", ", ascii(session_id) + 2"))


def _prepared(guide: Guide, spell: Callable[[Guide], None]) -> Callable[[Rows], Rows]:
    """Change the ids; returns how to say the same of flows that are made, whose ids follow from their sessions."""
    guide.run(_SPELLED + "CREATE TABLE before AS SELECT id, session_name FROM data_import_sessions")
    spell(guide)
    guide.run(_FLOW_IDS)
    renamed = {
        made_flow_id(old): made_flow_id(new)
        for old, new in guide.all("SELECT b.id, s.id FROM before b JOIN data_import_sessions s USING (session_name)")
    }
    return lambda rows: [(*one[:2], renamed.get(one[2], one[2])) for one in rows]


def _planned(guide: Guide) -> Counter[str]:
    """Reasons of the plan."""
    counted: dict[str, Counted] = {}
    with guide.flow().reading() as work:
        mapped = session_map(work)
        for place in work.layout.followed:
            counted[place.name] = Counted()
            assert all(page.height for page in changes(work, place, mapped, counted[place.name]))
    return sum((one.reasons for one in counted.values()), Counter[str]())


def _counts(guide: Guide) -> dict[str, tuple[bool, int, int]]:
    return {name: (one.passed, one.count, one.judged) for name, one in guide.findings().items()}


@pytest.mark.parametrize("spell", [_texts, _texts_of_uuid_flows, _texts_of_uuid_sessions])
def test_plan_backfill_triggers_and_checks_agree_when_two_ids_are_the_same(
    guide: Guide, second_guide: Guide, spell: Callable[[Guide], None]
) -> None:
    wanted, uuids = guide.wanted(), second_guide
    renamed = _prepared(guide, spell)
    rows, catalogue = guide.rows(), guide.catalogue()
    assert _planned(guide) == guide.planted.reasons
    before = _counts(uuids)
    assert _counts(guide) == before
    flow = guide.flow()
    flow.apply()
    uuids.flow().apply()
    assert guide.found() == renamed(wanted)
    assert _counts(guide) == _counts(uuids)
    guide.run(
        "INSERT INTO assets (session_id, name) SELECT session_id, 'late' FROM assets WHERE session_id IS NOT NULL"
    )
    late = "SELECT count(*), count(*) FILTER (WHERE l.flow_id = a.flow_id) FROM assets l JOIN assets a USING (session_id)" \
        " WHERE l.name = 'late' AND a.name <> 'late' AND a.name !~ '3$'"  # fmt: skip
    ((all_, right),) = guide.all(late)
    assert all_ == right > 100
    guide.run("DELETE FROM assets WHERE name = 'late'")
    contracted(flow)
    downgraded(flow)
    assert (guide.rows(), guide.catalogue()) == (rows, catalogue)


def test_texts_in_another_spelling_are_other_ids_and_are_counted_so(guide: Guide) -> None:
    _prepared(guide, _texts)
    session, flow_id = guide.all(
        "SELECT s.id, f.flow_id::text FROM data_import_sessions s JOIN discovery_flows f ON f.import_session_id = s.id"
        " WHERE s.id ~ '^[A-F0-9-]{36}$' ORDER BY 1 LIMIT 1"
    )[0]
    unknown = _counts(guide)["unknown_sessions"][1]
    for other in (session.lower(), f" {session}", session.replace("-", "")):
        guide.run(f"INSERT INTO llm_usage_logs (session_id, provider) VALUES ('{other}', 'odd')")
    assert _planned(guide)["unknown_session"] == guide.planted.reasons["unknown_session"] + 3
    assert _counts(guide)["unknown_sessions"][1] == unknown + 3
    flow = guide.flow()
    flow.apply()
    assert guide.all("SELECT DISTINCT flow_id FROM llm_usage_logs WHERE provider = 'odd'") == [(None,)]

    guide.run(f"INSERT INTO llm_usage_logs (provider, flow_id) VALUES ('swapped', '{session}')")
    found = guide.findings()["no_session_id_as_flow_id"]
    assert (found.passed, found.count) == (False, 1)
    guide.run("DELETE FROM llm_usage_logs WHERE provider = 'swapped'")
    guide.run(f"INSERT INTO llm_usage_logs (provider, flow_id) VALUES ('capitals', '{flow_id.upper()}')")
    assert guide.findings()["flow_inconsistencies"].passed


def test_a_made_flow_that_a_row_names_in_capitals_is_in_use(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    made = guide.one(
        "SELECT flow_id::text FROM session_assets_flow_made WHERE flow_id::text ~ '[a-f]' ORDER BY 1 LIMIT 1"
    )
    guide.run(f"INSERT INTO llm_usage_logs (provider, flow_id) VALUES ('newer', '{made.upper()}')")
    with flow.reading() as work:
        step = work.steps.newest("backfill")
    assert step is not None
    for dry_run in (True, False):
        assert [(one.word, one.key) for one in flow.undo(step.id, dry_run=dry_run)["left"]] == [("in_use", made)]
    assert guide.one("SELECT count(*) FROM discovery_flows WHERE flow_id = %s", [made]) == 1


def test_a_column_that_would_cut_flow_ids_short_is_refused_before_anything_is_written(guide: Guide) -> None:
    guide.run(
        "UPDATE llm_usage_logs SET session_id = NULL; ALTER TABLE llm_usage_logs ALTER session_id TYPE varchar(32)"
    )
    with guide.flow().reading() as work:
        assert [
            one
            for one in work.layout.obstacles
            if "llm_usage_logs.flow_id is character varying(32), which is too short" in one
        ]


@pytest.mark.parametrize("by", [UUID, NUMBER, CITEXT, EXACT])
def test_texts_that_were_read_are_compared_as_the_server_compares(guide: Guide, by: str) -> None:
    statement = sql.SQL("SELECT v, {} FROM unnest(%s::text[]) v").format(canonical(sql.Identifier("v"), "text", by))
    odd = [*_ODD, str(uuid.uuid4()).upper()]
    with guide.connect() as connection:
        for text, server in connection.execute(statement, [odd]).fetchall():
            assert canonical_text(text, by) == server
