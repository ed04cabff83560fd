"""Contract is refused, and says why, while anything that it asks for is missing; nothing is dropped then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.types.json import Jsonb

from session_assets.stores.flow_gates import GatesShut
from session_assets.stores.flow_migration import Flow
from session_assets.stores.postgres import Database
from session_assets_tests.flow.scenario import Guide, contracted


@pytest.fixture
def ready(guide: Guide) -> Flow:
    """A database for which all gates are open."""
    flow = guide.flow()
    flow.apply()
    flow.rehearse(lambda _: {})
    return flow


def reasons(flow: Flow) -> dict[str, str]:
    """Gates that are shut; contract says the same, and drops nothing."""
    with flow.holding() as work:
        before = work.layout.fingerprint
    with pytest.raises(GatesShut) as refused:
        flow.contract()
    with flow.holding() as work:
        assert work.layout.fingerprint == before
    found = {one.name: f"{one.reason}. {one.next_step}" for one in refused.value.gates}
    assert all(name in str(refused.value) and one in str(refused.value) for name, one in found.items())
    return found


def test_contract_is_refused_before_backfill(guide: Guide) -> None:
    assert list(reasons(guide.flow())) == ["backfill"]


def test_contract_is_refused_while_a_check_fails(guide: Guide, ready: Flow) -> None:
    guide.run("UPDATE assets SET flow_id = gen_random_uuid() WHERE name = 'host-11'")
    assert re.search(
        r"1 rows name a flow that does not exist \(assets .*Correct", reasons(ready)["check_flow_inconsistencies"]
    )
    session = guide.one("SELECT session_id FROM assets WHERE session_id IS NOT NULL LIMIT 1")
    guide.run(f"UPDATE llm_usage_logs SET flow_id = '{session}' WHERE id = 7")
    assert {"check_no_session_id_as_flow_id", "check_flow_inconsistencies"} <= reasons(ready).keys()
    guide.run("UPDATE llm_usage_logs SET flow_id = NULL WHERE id = 7")
    assert "check_rows_follow_their_session" in reasons(ready)
    guide.run("DELETE FROM session_assets_flow_archive_llm_usage_logs WHERE key1 = 7")
    assert "check_archive_holds_every_value" in reasons(ready)
    guide.run("ALTER TABLE assets DISABLE TRIGGER zz_session_assets_flow_fill_insert")
    assert "is missing or disabled" in reasons(ready)["check_schema_is_as_its_step"]


def test_contract_is_refused_without_a_rehearsal_that_still_counts(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    assert list(reasons(flow)) == ["rehearsal_missing"]
    flow.rehearse(lambda _: {})
    guide.run(
        "UPDATE session_assets_flow_steps SET started_at = started_at - interval '25 hours',"
        " finished_at = finished_at - interval '25 hours'"
    )
    assert list(reasons(flow)) == ["rehearsal_old"]
    flow.rehearse(lambda _: {})
    flow.apply()
    assert list(reasons(flow)) == ["rehearsal_before_backfill"]
    flow.rehearse(lambda _: {})
    guide.run("ALTER TABLE assets ADD COLUMN colour text")
    assert list(reasons(flow)) == ["rehearsal_of_another_schema"]
    flow.rehearse(lambda _: {})
    flow.contract()


def test_a_rehearsal_that_failed_and_is_made_again_counts_from_its_second_beginning(guide: Guide, ready: Flow) -> None:
    with pytest.raises(ZeroDivisionError):
        ready.rehearse(lambda _: {"share": 1 / 0})
    ready.apply()
    ready.rehearse(lambda _: {})
    assert ready.gates() == []


def test_contract_is_refused_while_a_flow_is_active(guide: Guide, ready: Flow) -> None:
    flow_id = guide.one(
        "UPDATE discovery_flows SET status = 'running' WHERE flow_name = 'Flow 5' RETURNING flow_id::text"
    )
    assert list(reasons(ready)) == ["active_flows"]
    assert flow_id in reasons(ready)["active_flows"]


def test_contract_is_refused_above_the_share_of_unmapped_rows(guide: Guide) -> None:
    flow = guide.flow(unmapped_share=0.001)
    flow.apply()
    flow.rehearse(lambda _: {})
    assert re.search(r"[\d,]+ of [\d,]+ rows have no flow, more than 0\.1%", reasons(flow)["unmapped_rows"])


def test_contract_is_refused_while_somebody_locks_a_table(guide: Guide, ready: Flow) -> None:
    with guide.connect() as other, other.transaction():
        other.execute("SET application_name = 'nightly report'")
        other.execute("LOCK TABLE access_audit_log IN SHARE MODE")
        told = reasons(ready)
        assert list(told) == ["locked_tables"]
        assert "access_audit_log by pid" in told["locked_tables"] and "nightly report" in told["locked_tables"]
    ready.contract()


def test_contract_asks_for_staging_or_a_name(guide: Guide, ready: Flow, second_url: str) -> None:
    ready.waived_by = None
    assert "FLOW_STAGING_DATABASE_URL is not set" in reasons(ready)["staging"]
    ready.staging = Database.from_env("FLOW_STAGING_DATABASE_URL", {"FLOW_STAGING_DATABASE_URL": guide.url})
    assert "the very database" in reasons(ready)["staging"]
    staging = Guide.new(second_url)
    ready.staging = Database.from_env("FLOW_STAGING_DATABASE_URL", {"FLOW_STAGING_DATABASE_URL": second_url})
    assert "was not completed" in reasons(ready)["staging"]
    contracted(staging.flow(waived_by="it is staging"))
    counts = staging.one("SELECT counts FROM session_assets_flow_steps WHERE kind = 'contract'")
    assert counts["staging_waived_by"] == "it is staging"
    with staging.connect() as connection:
        connection.execute(
            "UPDATE session_assets_flow_steps SET counts = jsonb_set(counts, '{shapes,assets}', '\"other\"')"
        )
        assert "staging had another schema: assets" in reasons(ready)["staging"]
        connection.execute("UPDATE session_assets_flow_steps SET counts = %s WHERE kind = 'contract'", [Jsonb(counts)])
    ready.contract()


@pytest.fixture
def second_url(postgres_url: str) -> Iterator[str]:
    with _database(postgres_url, postgres_url.rsplit("/", 1)[1] + "_staging") as url:
        yield url


@contextmanager
def _database(url: str, name: str) -> Iterator[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield url.rsplit("/", 1)[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
