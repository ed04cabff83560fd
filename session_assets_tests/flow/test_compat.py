"""The compatibility layer on PostgreSQL, before and after contract."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date

import psycopg
import pytest
from pydantic import ValidationError

from session_assets.errors import UsageError
from session_assets.flow.compat import FlowManager, NewFlow, convert_request, event_flow, to_flow, to_session
from session_assets.flow.compat_model import (
    LEGACY_SCHEMA,
    Contradiction,
    Flags,
    FlowIdRequired,
    UnknownFlow,
    UnknownSession,
    ends_on,
)
from session_assets.flow.compat_requests import import_request, user_session
from session_assets.flow.map_source import load_map
from session_assets.flow.model import made_flow_id
from session_assets.stores.flow_compat import FlowTable
from session_assets.stores.flow_views import create_views, drop_views
from session_assets.stores.postgres import Database
from session_assets_tests.flow.compat_scenario import CLIENT, ENGAGEMENT, contract, flow_id, plant, session_id

NEW = NewFlow(CLIENT, ENGAGEMENT, "sam@example.com")
NOW, ROLL_BACK = Flags(), Flags(compatibility_mode=True, legacy=True)


@pytest.fixture
def database(postgres_url: str) -> Database:
    plant(postgres_url)
    return Database("FLOW_DATABASE_URL", postgres_url)


@pytest.fixture(params=["before contract", "after contract"])
def lookup(request: pytest.FixtureRequest, database: Database) -> FlowTable:
    if request.param == "after contract":
        contract(database.url)
    return FlowTable(database)


def test_an_id_is_looked_up_as_a_session_then_as_a_flow_then_it_is_unknown(lookup: FlowTable) -> None:
    assert to_flow(lookup, session_id(3)) == flow_id(3)
    assert to_flow(lookup, session_id(1).upper()) == flow_id(1)  # the earlier of two
    assert to_flow(lookup, flow_id(100)) == flow_id(100)
    for unknown in (session_id(77), "disc_session_1"):
        with pytest.raises(UnknownSession):
            to_flow(lookup, unknown)
    assert to_session(lookup, flow_id(3)) == session_id(3)
    for unknown in (flow_id(100), flow_id(77)):
        with pytest.raises(UnknownFlow):
            to_session(lookup, unknown)


def test_an_unknown_session_gets_a_flow_where_asked_for_and_always_the_same(lookup: FlowTable) -> None:
    made = to_flow(lookup, session_id(77), NEW)
    assert lookup.create(NEW, session_id(77)) == made == to_flow(lookup, session_id(77))
    assert made == made_flow_id(session_id(77)), "as the migration would"
    assert to_session(lookup, made) == session_id(77)
    assert load_map({"FLOW_DATABASE_URL": lookup._database.url}).to_flow(session_id(77)) == made


def test_the_manager_creates_and_gets_flows(lookup: FlowTable) -> None:
    manager = FlowManager(lookup)
    made = manager.create_flow(NEW)
    found = manager.get_flow_data(made)
    assert (str(found["flow_id"]), found["status"], str(found["client_account_id"])) == (made, "initialized", CLIENT)
    with pytest.raises(UnknownFlow):
        manager.get_flow_data(str(uuid.uuid4()))


def test_requests_are_converted_both_ways(lookup: FlowTable) -> None:
    old = {"a": 1, "session_id": session_id(3), "b": [2]}
    new = {"a": 1, "flow_id": flow_id(3), "b": [2]}
    assert list(convert_request(old, NOW, lookup).items()) == list(new.items())
    assert convert_request(new, NOW, lookup) == new
    assert convert_request({**old, **new}, NOW, lookup) == new
    assert list(convert_request(new, ROLL_BACK, lookup).items()) == list(old.items())
    assert convert_request(old, ROLL_BACK, lookup) == old
    assert convert_request({"session_id": None, "x": 1}, NOW, lookup) == {"flow_id": None, "x": 1}
    assert convert_request({"validation_session_id": session_id(3)}, NOW, lookup) == {"validation_flow_id": flow_id(3)}
    for flags in (NOW, ROLL_BACK):
        with pytest.raises(Contradiction):
            convert_request({"session_id": session_id(3), "flow_id": flow_id(4)}, flags, lookup)
    with pytest.raises(UnknownSession):
        convert_request({"session_id": session_id(77)}, NOW, lookup)


def test_an_event_needs_a_flow_once_legacy_mode_is_off(lookup: FlowTable) -> None:
    assert event_flow({"flow_id": flow_id(3)}, NOW, lookup) == flow_id(3)
    assert event_flow({"session_id": session_id(3)}, Flags(legacy=True), lookup) == flow_id(3)
    for event in ({}, {"session_id": session_id(3)}, {"flow_id": ""}):
        with pytest.raises(FlowIdRequired, match="flow_id is required") as found:
            event_flow(event, NOW, lookup)
        assert isinstance(found.value, ValueError)


def test_request_models_take_session_id_in_legacy_mode_only() -> None:
    given = {"client_account_id": "c", "engagement_id": "e", "file_data": b"x"}
    old, new, legacy = given | {"session_id": "s"}, given | {"flow_id": "f"}, Flags(legacy=True)
    assert import_request(NOW).model_validate(new).flow_id == "f"
    with pytest.raises(ValidationError, match="session_id is no longer accepted: send flow_id"):
        import_request(NOW).model_validate(old)
    assert import_request(legacy).model_validate(old).model_dump()["session_id"] == "s"
    with pytest.raises(ValidationError, match="flow_id"):
        user_session(NOW).model_validate({"user_id": "u"})
    assert user_session(legacy).model_validate({"user_id": "u", "session_id": "s"}).model_dump()["flow_id"] is None


def test_flags_are_read_and_contradictions_refused() -> None:
    on = {"SESSION_COMPATIBILITY_MODE": "true", "LEGACY_SESSION_ID_ENABLED": "1", "FLOW_ID_MIGRATION_ENABLED": "no"}
    assert Flags.from_env({}) == NOW
    assert not NOW.rolls_back
    assert Flags.from_env(on) == Flags(True, True, False)
    assert Flags.from_env(on).rolls_back
    with pytest.raises(UsageError, match="LEGACY_SESSION_ID_ENABLED"):
        Flags.from_env({"FLOW_ID_MIGRATION_ENABLED": "false"})


def test_the_layer_ends_after_six_months() -> None:
    assert ends_on(date(2025, 1, 15)) == date(2025, 7, 15)
    assert ends_on(date(2025, 8, 31)) == date(2026, 2, 28)


def test_views_show_the_old_columns_and_cannot_be_written(database: Database) -> None:
    with pytest.raises(UsageError, match="still has import_session_id"):
        create_views(database)
    shown = _reader(database)
    before = {
        table: shown(table, "public")
        for table in ("assets", "access_audit_log", "flow_deletion_audit", "llm_usage_logs")
    }
    contract(database.url)
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO assets (flow_id, name) VALUES (%s, 'written later'), (NULL, 'of nobody')", [flow_id(4)]
        )
        connection.execute("INSERT INTO llm_usage_logs (flow_id) VALUES (%s), ('no flow')", [flow_id(5)])
    assert create_views(database) == create_views(database)
    later = {"assets": [session_id(4), None], "llm_usage_logs": [session_id(5), None]}
    for table, values in before.items():
        expected = sorted([*values, *later.get(table, [])], key=str)
        assert shown(table, LEGACY_SCHEMA) == expected, table
    with psycopg.connect(database.url) as connection:
        connection.execute(f"SET search_path TO {LEGACY_SCHEMA}, public".encode())
        query = "SELECT import_session_id FROM discovery_flows WHERE flow_id = %s"
        found = connection.execute(query, [flow_id(3)]).fetchone()
        assert str(found and found[0]) == session_id(3)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            connection.execute("UPDATE assets SET session_id = NULL")
    drop_views(database)
    drop_views(database)
    with pytest.raises(psycopg.errors.UndefinedTable):
        shown("assets", LEGACY_SCHEMA)


def _reader(database: Database) -> Callable[[str, str], list[str | None]]:
    def shown(table: str, schema: str) -> list[str | None]:
        with psycopg.connect(database.url) as connection:
            query = f"SELECT session_id::text FROM {schema}.{table}".encode()
            return sorted((row[0] for row in connection.execute(query)), key=str)

    return shown
