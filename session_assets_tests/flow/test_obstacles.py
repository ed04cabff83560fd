"""What stands in the way is found by a plan: all of it at once, each with the place to change, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from session_assets.errors import PlanRefused
from session_assets.flow.description import Described
from session_assets.flow.model import MIGRATION, Linked, Migration
from session_assets.flow.obstacle import Obstacle
from session_assets.stores.flow_gates import GatesShut
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_obstacles import Obstructed
from session_assets.stores.postgres import Database
from session_assets_tests.flow.journeys import Journeys
from session_assets_tests.flow.scenario import TABLES, VARIABLE, Guide, contracted, downgraded, unique


def obstacles(guide: Guide, migration: Migration = MIGRATION, file: str | None = "s.yaml") -> dict[str, Obstacle]:
    """What a plan finds, by object; nothing is written, and `apply` refuses with the same."""
    before = guide.all("SELECT oid, relname FROM pg_class ORDER BY 1")
    flow = Flow(Database.from_env(VARIABLE, {VARIABLE: guide.url}), migration, described=Described(migration, file))
    found = flow.obstacles()
    assert guide.all("SELECT oid, relname FROM pg_class ORDER BY 1") == before
    return {one.object: one for one in found}


def test_nothing_stands_in_the_way_of_the_guides_schema(guide: Guide) -> None:
    assert obstacles(guide) == {}


def test_all_that_the_description_names_and_the_database_lacks_is_told_at_once(guide: Guide) -> None:
    guide.run(
        'ALTER TABLE assets RENAME TO "Assets"; ALTER TABLE data_import_sessions DROP client_account_id, DROP created_at;'
        " ALTER TABLE access_audit_log RENAME session_id TO session; ALTER TABLE discovery_flows DROP flow_description"
    )
    found = obstacles(guide)
    assert {name: (one.why, one.remedy) for name, one in found.items()} == {
        "assets": ("the database has no such table", "Change linked[0].table (s.yaml, line 1): there is public.Assets"),
        "data_import_sessions.client_account_id": (
            "the table has no such column: a flow that is made takes it from its session",
            "Change flows.scope[0] (s.yaml, line 1): there is id, session_name, parent_session_id, engagement_id, status",
        ),
        "data_import_sessions.created_at": (
            "the table has no such column",
            "Change sessions.created (s.yaml, line 1): there is id, session_name, parent_session_id, engagement_id, status",
        ),
        "discovery_flows.flow_description": (
            "the table has no such column",
            "Change flows.literals.flow_description (s.yaml, line 1): there is "
            + ", ".join(name for (name,) in guide.all(_COLUMNS)),
        ),
        "access_audit_log.session_id": (
            "the table has no such column",
            "Change linked[1].old (s.yaml, line 1): there is id, user_id, session, action_type, details, created_at",
        ),
    }
    with pytest.raises(Obstructed, match=r"(?s)assets: the database has no.*access_audit_log\.session_id: the table"):
        guide.flow().apply()


_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = 'discovery_flows'::regclass AND attnum > 0 AND NOT attisdropped"
)


def test_a_table_that_is_described_by_two_names_and_scope_of_a_linked_table(guide: Guide) -> None:
    linked = (*MIGRATION.linked, Linked("public.assets", "name", "archive", named=False))
    linked = (*linked[1:], replace(linked[0], fallback="made_at"))
    guide.run("ALTER TABLE assets DROP engagement_id")
    found = obstacles(guide, replace(MIGRATION, linked=linked))
    assert found["assets"].why == "it is the table public.assets, which is described already"
    assert "latest flow of its scope" in found["assets.engagement_id"].why
    assert "linked[4].fallback" in found["assets.made_at"].remedy


@pytest.mark.parametrize(
    ("change", "name", "why", "remedy"),
    [
        (
            "CREATE TYPE state AS ENUM ('completed', 'failed', 'initialized'); ALTER TABLE discovery_flows ALTER status DROP"
            " DEFAULT, ALTER status TYPE state USING status::state",
            "discovery_flows.status",
            "'migrated' is no value of state: invalid input value for enum",
            "Change flows.literals.status (s.yaml, line 1): one of 'completed', 'failed', 'initialized'",
        ),
        (
            "CREATE DOMAIN short AS text CHECK (length(VALUE) < 8);"
            " ALTER TABLE discovery_flows ALTER user_id TYPE short USING 'a'",
            "discovery_flows.user_id",
            "'session_assets' is no value of short: value for domain short violates check constraint",
            "Change flows.literals.user_id",
        ),
        (
            "ALTER TABLE discovery_flows ALTER user_id TYPE varchar(5) USING 'a'",
            "discovery_flows.user_id",
            "'session_assets' does not fit into character varying(5), it would be cut",
            "Change flows.literals.user_id",
        ),
        (
            "ALTER TABLE discovery_flows ADD CONSTRAINT known CHECK (status IN ('completed', 'failed', 'initialized'))",
            "constraint known of discovery_flows",
            "10 flows that would be made violate CHECK",
            "Change flows.literals",
        ),
        (
            "CREATE TABLE people (name text PRIMARY KEY); INSERT INTO people SELECT DISTINCT user_id FROM discovery_flows;"
            " ALTER TABLE discovery_flows ALTER user_id TYPE text, ADD CONSTRAINT who FOREIGN KEY (user_id) REFERENCES people",
            "constraint who of discovery_flows",
            "10 flows that would be made violate FOREIGN KEY (user_id) REFERENCES people(name)",
            "Change flows.literals",
        ),
        (
            "DELETE FROM discovery_flows f USING discovery_flows g WHERE f.client_account_id = g.client_account_id"
            " AND f.flow_description IS NOT DISTINCT FROM g.flow_description AND f.id > g.id;"
            " CREATE UNIQUE INDEX once ON discovery_flows (client_account_id, flow_description)",
            "unique index once of discovery_flows",
            "flows that would be made have the same (client_account_id, flow_description) as other flows",
            "Change flows.literals",
        ),
        (
            "ALTER TABLE discovery_flows ADD region text NOT NULL DEFAULT 'x';"
            " ALTER TABLE discovery_flows ALTER region DROP DEFAULT",
            "discovery_flows.region",
            "discovery_flows.region must have a value, and a flow that is made gives it none",
            "Add region to flows.literals (s.yaml, line 1)",
        ),
        (
            "CREATE FUNCTION sure(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF $1 = 'migrated' THEN"
            " RAISE EXCEPTION 'not by hand'; END IF; RETURN true; END $$;"
            " ALTER TABLE discovery_flows ADD CONSTRAINT sane CHECK (sure(status))",
            "constraint sane of discovery_flows",
            "CHECK (sure((status)::text)) cannot be computed for flows that would be made: not by hand",
            "Change flows.literals",
        ),
        (
            "ALTER TABLE data_import_sessions ALTER engagement_id TYPE text USING 'E'",
            "discovery_flows",
            "flows that would be made are refused: invalid input syntax for type uuid",
            "Change flows (s.yaml, line 1)",
        ),
        (
            "ALTER TABLE discovery_flows DROP progress_percentage;"
            " ALTER TABLE discovery_flows ADD progress_percentage int GENERATED ALWAYS AS (1) STORED",
            "discovery_flows.progress_percentage",
            "the server computes it",
            "Take it out of flows.literals.progress_percentage",
        ),
        (
            "ALTER TABLE discovery_flows ADD n bigserial UNIQUE; ALTER TABLE discovery_flows DROP flow_id;"
            " ALTER TABLE discovery_flows RENAME n TO flow_id; ALTER TABLE assets ALTER flow_id TYPE bigint USING NULL;"
            " ALTER TABLE flow_deletion_audit ALTER flow_id TYPE bigint USING 0",
            "discovery_flows.flow_id",
            "10 sessions have no flow, and none can be made for them: the id of a flow that is made is no value of bigint",
            "Give each session a flow first",
        ),
    ],
)  # fmt: skip
def test_made_flows_that_the_table_cannot_take(guide: Guide, change: str, name: str, why: str, remedy: str) -> None:
    guide.run(change)
    rows = guide.rows()
    (found,) = [one for one in obstacles(guide).values() if one.object == name]
    assert why in found.why and remedy in found.remedy
    with pytest.raises(Obstructed):
        guide.flow().apply()
    assert guide.rows() == rows
    assert not guide.all("SELECT FROM pg_trigger WHERE tgname LIKE '%session_assets%'")


def test_ids_of_flows_may_be_numbers_where_each_session_has_a_flow(guide: Guide) -> None:
    guide.run(
        "INSERT INTO discovery_flows (flow_id, client_account_id, engagement_id, user_id, import_session_id, flow_name)"
        " SELECT gen_random_uuid(), client_account_id, engagement_id, 'me', id, 'flow' FROM data_import_sessions s"
        " WHERE NOT EXISTS (SELECT FROM discovery_flows WHERE import_session_id = s.id);"
        " ALTER TABLE discovery_flows ADD n bigserial UNIQUE; ALTER TABLE discovery_flows DROP flow_id;"
        " ALTER TABLE discovery_flows RENAME n TO flow_id; ALTER TABLE assets ALTER flow_id TYPE bigint USING NULL;"
        " ALTER TABLE flow_deletion_audit ALTER flow_id TYPE bigint USING 0"
    )
    assert obstacles(guide) == {}
    rows, catalogue, flow = guide.rows(), guide.catalogue(), guide.flow()
    contracted(flow)
    first = """
        SELECT count(*), count(*) FILTER (WHERE t.flow_id = (
            SELECT f.flow_id FROM discovery_flows f JOIN session_assets_flow_archive_discovery_flows x ON x.key1 = f.id
            WHERE x.old_value = a.old_value ORDER BY f.created_at, f.flow_id LIMIT 1))
        FROM access_audit_log t JOIN session_assets_flow_archive_access_audit_log a ON a.key1 = t.id WHERE a.old_value IS NOT NULL
    """
    assert guide.all(first) == [(150, 150)]
    downgraded(flow)
    assert (guide.rows(), guide.catalogue()) == (rows, catalogue)


@pytest.fixture
def owner(guide: Guide) -> Iterator[Guide]:
    """The same database for an account that owns nothing."""
    role = f"weak_{unique()}"
    guide.run(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = urlsplit(guide.url)
    try:
        yield Guide(urlunsplit(url._replace(netloc=f"{role}:{role}@{url.netloc.rpartition('@')[2]}")), guide.planted)
    finally:
        guide.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_missing_right_is_named_with_its_object_and_its_page(guide: Guide, owner: Guide) -> None:
    role = owner.one("SELECT current_user")
    found = obstacles(owner)
    page = "(docs/flow/migration.md, Rights and settings)"
    boss = guide.one("SELECT quote_ident(current_user)")
    assert found["schema public"].remedy == f"GRANT CREATE ON SCHEMA public TO {role} {page}"
    assert (
        found["table assets"].remedy
        == f"ALTER TABLE assets OWNER TO {role}, or use an account that is a member of {boss} {page}"
    )
    assert "lacks REFERENCES on it" in found["table public.data_import_sessions"].why
    assert (found[f"account {role}"].blocks, found[f"account {role}"].remedy) == (
        "rehearsal",
        f"ALTER ROLE {role} CREATEDB {page}",
    )
    guide.run(f"GRANT CREATE ON SCHEMA public TO {role}; REVOKE SELECT ON data_import_sessions FROM {role}")
    for table in TABLES[1:]:
        guide.run(f"ALTER TABLE {table} OWNER TO {role}")
    left = obstacles(owner)
    assert left.keys() == {"table data_import_sessions", "table public.data_import_sessions", f"account {role}"}
    assert left["table data_import_sessions"].remedy.startswith(f"GRANT SELECT ON data_import_sessions TO {role}")
    guide.run(f"GRANT SELECT, REFERENCES ON data_import_sessions TO {role}")
    assert obstacles(owner).keys() == {f"account {role}"}
    step = owner.flow().apply()
    owner.flow().rehearse(lambda _: {})
    guide.run(f"ALTER TABLE assets OWNER TO {boss}; GRANT SELECT ON assets TO {role}")
    with pytest.raises(GatesShut, match=r"rights: table assets: it belongs to .*ALTER TABLE assets OWNER TO"):
        owner.flow().contract()
    with pytest.raises(Obstructed, match="table assets: it belongs to"):
        owner.flow().undo(step.id)
    guide.run(f"ALTER TABLE assets OWNER TO {role}; REVOKE USAGE ON SCHEMA public FROM PUBLIC, {role}")
    public = replace(
        MIGRATION,
        sessions=replace(MIGRATION.sessions, name="public.data_import_sessions"),
        flows=replace(MIGRATION.flows, name="public.discovery_flows"),
    )
    assert obstacles(owner, public)["schema public"].remedy == f"GRANT USAGE ON SCHEMA public TO {role} {page}"
    guide.run("GRANT USAGE ON SCHEMA public TO PUBLIC")


def test_another_description_does_not_take_a_begun_migration_over(guide: Guide) -> None:
    guide.flow().apply()
    fewer = replace(MIGRATION, linked=MIGRATION.linked[:-1])
    (found,) = obstacles(guide, fewer).values()
    assert found.object == "linked llm_usage_logs" and "begun with another description" in found.why
    for work in (lambda: guide.flow(migration=fewer).apply(), lambda: guide.flow(migration=fewer).contract()):
        with pytest.raises(PlanRefused, match=r"different are: linked llm_usage_logs\. Set FLOW_SCHEMA"):
            work()
    with pytest.raises(PlanRefused, match="begun with another description"), guide.flow(migration=fewer).reading():
        raise AssertionError("a verify would not look at all tables")
    other = replace(
        MIGRATION, flows=replace(MIGRATION.flows, active=("busy",), literals={"status": "done", "user_id": "me"})
    )
    guide.flow(migration=other).apply()
    with guide.flow().reading() as work:
        ids = {one.kind: one.id for one in work.steps.all()}
    guide.flow().undo(ids["backfill"])
    guide.flow().undo(ids["expand"])
    guide.flow(migration=fewer).apply()


def test_what_could_write_or_act_outside_is_not_called(guide: Guide) -> None:
    guide.run("ALTER TABLE discovery_flows ADD n bigserial CHECK (n > 0)")
    guide.run(
        "CREATE FUNCTION called() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$;"
        " CREATE FUNCTION called(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM called(); END $$;"
        " ALTER TABLE discovery_flows ADD outside int; ALTER TABLE discovery_flows ALTER outside SET DEFAULT called(),"
        " ADD CHECK (outside > 0), ADD CHECK (called(status)) NOT VALID"
    )
    before = guide.one("SELECT last_value FROM discovery_flows_n_seq")
    assert obstacles(guide) == {}
    assert guide.one("SELECT last_value FROM discovery_flows_n_seq") == before
    with psycopg.connect(guide.url) as connection:
        assert connection.execute("SELECT count(*) FROM discovery_flows WHERE status = 'migrated'").fetchone() == (0,)


def test_the_example_in_the_docs_is_a_description_that_fits(postgres_url: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "flow" / "migration.md").read_text()
    (tmp_path / "schema.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    journeys = Journeys(postgres_url)
    env = {VARIABLE: journeys.url, "FLOW_SCHEMA": str(tmp_path / "schema.yaml"), "SESSION_ASSETS_SETTLE_MINUTES": "0"}
    flow = Flow.from_env(env)
    assert flow.obstacles() == []
    flow.apply()
    (stated,) = journeys.all(
        "SELECT count(*) FROM app.journeys WHERE run_state = 'taken over' AND title LIKE 'Made for Visit %'"
    )
    assert stated == (10,)
