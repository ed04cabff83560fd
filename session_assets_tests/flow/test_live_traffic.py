"""The migration works beside an application: no statement of it fails or waits for long, and nothing of it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from session_assets.errors import LockHeld
from session_assets.stores import flow_backfill
from session_assets.stores.flow_waits import TooBusy
from session_assets_tests.counts import times
from session_assets_tests.flow.scenario import OLD, Guide
from session_assets_tests.flow.traffic import Traffic

_LIMIT = 1.5  # seconds: the lock timeout of 0.5, and what a busy test machine adds


def test_no_statement_fails_or_waits_for_long_and_nothing_is_lost(
    postgres_url: str, record_property: Callable[[str, object], None]
) -> None:
    guide = Guide.new(postgres_url, sessions=times(100, 10_000), rows=times(200, 50_000))
    flow = guide.flow(batch=times(50, 5000))
    with Traffic(guide.url, threads=times(3, 8)) as traffic:
        flow.apply()
        traffic.stop_naming_sessions()
        flow.apply()
        assert not [one for one in guide.findings(flow).values() if one.is_error and not one.passed]
        flow.rehearse(lambda _: {})
        contract = flow.contract().id
        assert not traffic.errors
        flow.undo(contract)
        time.sleep(0.3)
    assert not traffic.errors
    waits = f"longest wait for a lock {traffic.longest_wait:.3f} s ({traffic.waited_for})"
    record_property("traffic", f"{traffic.statements}, longest {traffic.longest:.3f} s, {waits}")
    assert traffic.statements.total() > 100
    assert traffic.statements.keys() == {"INSERT", "UPDATE", "DELETE", "SELECT"}
    assert traffic.longest_wait < _LIMIT, waits
    assert traffic.longest < times(1, 2) * _LIMIT, f"{traffic.longest:.2f} s"
    for table, rows in traffic.rows().items():
        found = dict(guide.all(f"SELECT id::text, {OLD[table]}::text FROM {table}"))
        assert {key: found.get(key, "lost") for key in rows} == rows, table
        assert not traffic.gone()[table] & found.keys(), table
    made = dict(guide.all("SELECT content ->> 'id', session::text FROM session_assets_flow_made"))
    values = guide.values()
    assert {key: dict(values["discovery_flows"])[key] for key in made} == made
    findings = guide.findings(flow)
    for name in ("rows_follow_their_session", "flow_inconsistencies", "archive_holds_every_value"):
        assert findings[name].passed, findings[name]


def test_live_writes_of_the_old_column_get_their_flow_and_others_are_left(guide: Guide) -> None:
    guide.flow().apply()
    first, second = guide.all(
        "SELECT import_session_id, flow_id FROM discovery_flows WHERE flow_name IN ('Flow 3', 'Flow 5') ORDER BY flow_name"
    )

    def write(statement: str, *values: Any) -> Any:
        return guide.all(statement + " RETURNING flow_id", values)[0][0]

    insert = "INSERT INTO assets (name, session_id, flow_id) VALUES (%s, %s, %s)"
    assert write(insert, "follows", first[0], None) == first[1]
    assert write(insert, "its own", first[0], second[1]) == second[1]
    assert write("UPDATE assets SET session_id = %s WHERE name = 'follows'", second[0]) == second[1]
    assert write("UPDATE assets SET session_id = %s, name = 'b' WHERE name = 'its own'", first[0]) == second[1]
    assert write("UPDATE assets SET session_id = NULL WHERE name = 'follows'") is None
    assert write("INSERT INTO llm_usage_logs (session_id, provider) VALUES (%s, 'x')", str(first[0]).upper()) == str(
        first[1]
    )
    assert write("INSERT INTO llm_usage_logs (session_id, provider) VALUES ('no uuid', 'x')") is None
    guide.run(
        "DELETE FROM assets WHERE name = 'b'; TRUNCATE flow_deletion_audit; UPDATE llm_usage_logs SET id = id + 10000"
    )
    assert guide.archive() == guide.values()


def test_a_row_that_gets_its_session_late_takes_the_flow_of_it(guide: Guide) -> None:
    guide.flow().apply()
    asset = guide.one("SELECT id FROM assets WHERE session_id IS NULL AND flow_id IS NOT NULL ORDER BY id LIMIT 1")
    session, flow = guide.all(
        "SELECT m.session, m.flow_id FROM session_assets_flow_made m JOIN assets a ON a.id = %s"
        " AND a.flow_id <> m.flow_id ORDER BY 1 LIMIT 1", [asset]
    )[0]  # fmt: skip
    guide.run(f"UPDATE assets SET session_id = '{session}' WHERE id = '{asset}'")
    assert guide.one("SELECT flow_id FROM assets WHERE id = %s", [asset]) == flow
    assert guide.findings()["flows_agree_with_sessions"].passed


def test_a_lock_makes_the_migration_wait_and_retry_and_queues_nobody(guide: Guide) -> None:
    """While somebody holds a lock that expand needs, the application goes on writing between our tries."""
    flow = guide.flow(lock=0.2)
    with guide.connect() as holder:
        holder.execute("BEGIN; LOCK TABLE assets IN SHARE UPDATE EXCLUSIVE MODE")  # writers may go on, DDL may not
        worker = threading.Thread(target=flow.apply)
        worker.start()
        waits: list[float] = []
        deadline = time.monotonic() + 2.5
        with guide.connect() as application:
            while time.monotonic() < deadline:
                began = time.monotonic()
                application.execute("UPDATE assets SET name = name WHERE name = 'host-1'")
                waits.append(time.monotonic() - began)
                time.sleep(0.01)
        assert worker.is_alive(), "the migration waits"
        holder.execute("COMMIT")
        worker.join(60)
    assert max(waits) < _LIMIT
    assert max(waits) > 0.05, "it did queue, for no longer than our lock timeout"
    assert guide.findings()["rows_follow_their_session"].passed


def test_a_lock_that_stays_ends_the_step_with_who_has_it(guide: Guide) -> None:
    with guide.connect() as holder, holder.transaction():
        holder.execute("SET application_name = 'nightly report'")
        holder.execute("LOCK TABLE assets IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(LockHeld, match=r"3 tries.*nightly report"):
            guide.flow(lock=0.05, tries=3).apply()
    guide.flow().apply()
    assert guide.findings()["rows_follow_their_session"].passed


def test_rows_that_somebody_has_locked_are_filled_when_they_are_free(guide: Guide) -> None:
    flow = guide.flow()
    with guide.connect() as holder:
        holder.execute("BEGIN; SELECT FROM assets WHERE name LIKE 'host-1%' FOR UPDATE")
        release = threading.Timer(1.0, lambda: holder.execute("COMMIT"))
        release.start()
        flow.apply()
        release.join()
    assert guide.findings()["rows_follow_their_session"].passed
    assert guide.findings()["archive_holds_every_value"].passed


def test_rows_that_were_left_out_before_a_backfill_died_are_filled_by_the_next(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, reached = guide.flow(), list[str]()

    def dies(name: str) -> None:
        reached.append(name)
        if reached[-3:] == ["flow.backfill.before_commit", "flow.backfill.batch", "flow.backfill.before_commit"]:
            is_second = reached.count("flow.backfill.discovery_flows")
            assert not is_second, "it died"

    with monkeypatch.context() as patched, guide.connect() as holder, holder.transaction():
        holder.execute("SELECT FROM assets WHERE id = (SELECT min(id::text) FROM assets)::uuid FOR UPDATE")
        patched.setattr(flow_backfill, "failpoint", dies)
        with pytest.raises(AssertionError, match="it died"):
            flow.apply()
    flow.apply()
    assert guide.findings()["rows_follow_their_session"].passed
    assert guide.findings()["archive_holds_every_value"].passed


def test_backfill_pauses_for_an_old_transaction_and_then_stops(guide: Guide) -> None:
    with guide.connect() as other, other.transaction():
        other.execute("SELECT 1")
        time.sleep(0.3)
        with pytest.raises(TooBusy, match="a transaction is open since"):
            guide.flow(transaction=0.2, pause=0.3).apply()
    guide.flow(transaction=30).apply()
    assert guide.findings()["rows_follow_their_session"].passed
