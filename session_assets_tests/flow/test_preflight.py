"""What is refused before anything is changed: poolers in transaction mode, schemas that could not come back, work at once."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from session_assets.errors import LockHeld, PlanRefused, UsageError
from session_assets.stores.flow_gates import GatesShut
from session_assets.stores.flow_migration import Flow
from session_assets.stores.postgres import Database
from session_assets_tests.flow.bouncer import PROGRAM, pgbouncer
from session_assets_tests.flow.pooler import transaction_pooler
from session_assets_tests.flow.scenario import TABLES, VARIABLE, Guide, unique


def untouched(guide: Guide) -> bool:
    return guide.one("SELECT count(*) FROM pg_class WHERE relname LIKE 'session_assets_flow%'") == 0


@pytest.mark.parametrize("size", [1, 4])
def test_a_pooler_in_transaction_mode_is_refused(guide: Guide, size: int) -> None:
    with transaction_pooler(guide.url, size) as url:
        flow = Flow(Database.from_env(VARIABLE, {VARIABLE: url}))
        with pytest.raises(UsageError, match="connection pooler in transaction mode"):
            flow.apply()
    assert untouched(guide)


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
def test_pgbouncer_is_refused_but_in_session_mode(guide: Guide, tmp_path: Path) -> None:
    for mode, more in (("transaction", ""), ("transaction", "server_round_robin = 1"), ("statement", "")):
        refused = pytest.raises(UsageError, match="connection pooler in transaction mode")
        with pgbouncer(guide.url, tmp_path, mode, more) as url, refused:
            Guide(url, guide.planted).flow().apply()
    assert untouched(guide)
    with pgbouncer(guide.url, tmp_path, "session") as url:
        assert [one.name for one in Guide(url, guide.planted).flow().gates()] == ["backfill"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("CREATE VIEW report AS SELECT session_id FROM assets", "view report depends on assets.session_id"),
        ("GRANT SELECT (session_id) ON assets TO PUBLIC", "has privileges of its own"),
        ("CREATE POLICY mine ON assets USING (session_id IS NULL)", "policy mine on table assets depends on"),
        ("ALTER TABLE assets ADD has_session bool GENERATED ALWAYS AS (session_id IS NOT NULL) STORED", "has_session"),
        ("ALTER TABLE discovery_flows DROP CONSTRAINT discovery_flows_flow_id_key", "flow_id is not unique"),
        ("CREATE TABLE newer_assets () INHERITS (assets)", "assets inherits from a table, or is inherited from"),
        (
            "UPDATE discovery_flows SET import_session_id = NULL;"
            "ALTER TABLE discovery_flows ADD UNIQUE (import_session_id);"
            "CREATE TABLE batches (session uuid CONSTRAINT of_flow REFERENCES discovery_flows (import_session_id))",
            "constraint of_flow on table batches depends on discovery_flows.import_session_id",
        ),
    ],
)
def test_a_schema_that_could_not_come_back_is_refused(guide: Guide, change: str, reason: str) -> None:
    guide.run(change)
    with pytest.raises(PlanRefused, match=reason):
        guide.flow().apply()
    assert not guide.all("SELECT FROM pg_trigger WHERE tgname LIKE '%session_assets%'")


def test_rows_that_the_account_does_not_see_are_not_left_behind(guide: Guide) -> None:
    role = f"owner_{unique()}"
    guide.run(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; ALTER SCHEMA public OWNER TO {role}")
    for table in TABLES:
        guide.run(f"ALTER TABLE {table} OWNER TO {role}")
    url = urlsplit(guide.url)
    owner = Guide(urlunsplit(url._replace(netloc=f"{role}:{role}@{url.netloc.rpartition('@')[2]}")), guide.planted)
    try:
        hide = "ALTER TABLE assets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        guide.run(hide)
        with pytest.raises(PlanRefused, match="row-level security hides rows of assets from this account"):
            owner.flow().apply()
        guide.run(hide.replace("FORCE", "NO FORCE"))
        owner.flow().apply()
        owner.flow().rehearse(lambda _: {})
        guide.run(hide)
        with pytest.raises(GatesShut, match="row-level security hides rows of assets"):
            owner.flow().contract()
    finally:
        guide.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}")


def test_a_column_that_flows_need_and_nobody_fills_is_refused(guide: Guide) -> None:
    guide.run(
        "ALTER TABLE discovery_flows ADD region text NOT NULL DEFAULT 'x'; ALTER TABLE discovery_flows ALTER region DROP DEFAULT"
    )
    with pytest.raises(PlanRefused, match=r"discovery_flows\.region must have a value"):
        guide.flow().apply()


def test_a_schema_that_is_not_the_described_one_says_what_is_missing(postgres_url: str, guide: Guide) -> None:
    guide.run("ALTER TABLE llm_usage_logs RENAME session_id TO session")
    with pytest.raises(UsageError, match="llm_usage_logs has neither its column session_id nor its archive"):
        guide.flow().apply()
    guide.run("DROP TABLE llm_usage_logs")
    with pytest.raises(UsageError, match="no table llm_usage_logs"):
        guide.flow().apply()
    guide.run("CREATE TABLE llm_usage_logs (id bigint PRIMARY KEY, session_id text) PARTITION BY RANGE (id)")
    with pytest.raises(UsageError, match="llm_usage_logs is a partitioned table: only ordinary tables can be migrated"):
        guide.flow().apply()


def test_of_two_at_once_one_works_and_the_other_names_it(guide: Guide) -> None:
    first = guide.flow()
    with first.holding():
        failed: list[BaseException] = []

        def second() -> None:
            try:
                guide.flow().apply()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(30)
    assert isinstance(failed[0], LockHeld)
    assert "flow migration pid" in str(failed[0])


def test_triggers_of_the_application_that_our_writes_set_off_are_named(guide: Guide) -> None:
    assert guide.findings()["application_triggers"].passed
    guide.run("""
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON assets FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER only_named BEFORE UPDATE OF name ON assets FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER follows BEFORE UPDATE OF flow_id ON assets FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER fresh BEFORE INSERT ON access_audit_log FOR EACH ROW EXECUTE FUNCTION touch()
    """)
    found = guide.findings()["application_triggers"]
    assert (found.passed, found.count, found.sample) == (False, 1, ["assets: follows, touched"])
    guide.flow().apply()
    assert guide.findings()["application_triggers"].sample == ["assets: follows, touched"]
