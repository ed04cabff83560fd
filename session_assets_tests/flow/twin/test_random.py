"""Schemas out of a grammar: nothing fails on the real database that the twin had not told; what passes comes back as it was."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import psycopg
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from psycopg import sql

from session_assets.errors import SessionAssetsError
from session_assets.flow.twin import try_road
from session_assets.storage import Storage
from session_assets_tests.conftest import with_database
from session_assets_tests.counts import FULL, times
from session_assets_tests.flow.scenario import OLD, Guide, contracted, downgraded

_TABLES = ["data_import_sessions", *OLD]
_TYPES = [
    "text",
    "varchar(80)",
    "integer",
    "bigint",
    "uuid",
    "jsonb",
    "timestamptz",
    "boolean",
    "numeric(10, 2)",
    "text[]",
    "bytea",
]
_BODIES = {
    "nothing": "RETURN coalesce(NEW, OLD);",
    "stamp": "NEW.updated_at := clock_timestamp(); RETURN NEW;",
    "refuse": "IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'kept'; END IF; RETURN coalesce(NEW, OLD);",
    "name the old column": "IF NEW.{old} IS NULL THEN RETURN NEW; END IF; RETURN NEW;",
    "write to another table": "UPDATE flow_deletion_audit SET deletion_type = 'x' WHERE false; RETURN coalesce(NEW, OLD);",
}
_tables = st.sampled_from(_TABLES)
_linked = st.sampled_from(list(OLD))
_number = st.integers(0, 999)


@st.composite
def _columns(draw: st.DrawFn) -> str:
    kind, default = draw(st.sampled_from(_TYPES)), draw(st.booleans())
    extra = " DEFAULT NULL" if default else ""
    return f"ALTER TABLE {draw(_tables)} ADD extra_{draw(_number)} {kind}{extra}"


@st.composite
def _generated(draw: st.DrawFn) -> str:
    table = draw(_linked)
    source = draw(st.sampled_from(["id::text", f"{OLD[table]}::text"]))
    return f"ALTER TABLE {table} ADD made_{draw(_number)} text GENERATED ALWAYS AS ({source}) STORED"


@st.composite
def _indexes(draw: st.DrawFn) -> str:
    table = draw(_linked)
    old = OLD[table]
    what = draw(
        st.sampled_from(
            [f"({old})", f"({old}, id)", f"(id) INCLUDE ({old})", f"(id) WHERE {old} IS NOT NULL", f"(({old}::text))"]
        )
    )
    unique, method = draw(st.sampled_from(["", "UNIQUE "])), ""
    if not unique and what == f"({old})":
        method = draw(st.sampled_from(["", "USING hash ", "USING brin "]))
    return f"CREATE {unique}INDEX random_{draw(_number)} ON {table} {method}{what}"


@st.composite
def _constraints(draw: st.DrawFn) -> str:
    table = draw(_linked)
    old, flow = OLD[table], "flow_id"
    text = draw(
        st.sampled_from(
            [
                f"CHECK ({old} IS NOT NULL OR id IS NOT NULL)",
                f"CHECK ({old} IS NULL OR length({old}::text) > 3) NOT VALID",
                f"CHECK (num_nonnulls({old}, {flow}) >= 0)",
                f"UNIQUE ({old}, id)",
                f"UNIQUE NULLS NOT DISTINCT ({old}, id)",
                f"UNIQUE ({old}, id) DEFERRABLE INITIALLY DEFERRED",
                f"EXCLUDE USING btree ({old} WITH =, id WITH =)",
                f"FOREIGN KEY ({old}) REFERENCES data_import_sessions (id) ON DELETE SET NULL NOT VALID",
                f"FOREIGN KEY ({old}) REFERENCES data_import_sessions (id) DEFERRABLE INITIALLY DEFERRED",
            ]
        )
    )
    return f"ALTER TABLE {table} ADD CONSTRAINT random_{draw(_number)} {text}"


@st.composite
def _triggers(draw: st.DrawFn) -> str:
    table, number, body = draw(_linked), draw(_number), draw(st.sampled_from(list(_BODIES)))
    when = "BEFORE" if body == "stamp" else draw(st.sampled_from(["BEFORE", "AFTER"]))
    events = draw(
        st.sampled_from(
            ["INSERT", "UPDATE", "INSERT OR UPDATE", "INSERT OR UPDATE OR DELETE", f"UPDATE OF {OLD[table]}"]
        )
    )
    events = {"stamp": "UPDATE", "name the old column": "INSERT OR UPDATE"}.get(body, events)
    column = f"ALTER TABLE {table} ADD IF NOT EXISTS updated_at timestamptz; " if body == "stamp" else ""
    text = _BODIES[body].replace("{old}", OLD[table])
    return (
        f"{column}CREATE FUNCTION fires_{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {text} END $$;"
        f" CREATE TRIGGER fires_{number} {when} {events} ON {table} FOR EACH ROW EXECUTE FUNCTION fires_{number}()"
    )


@st.composite
def _properties(draw: st.DrawFn) -> str:
    table = draw(_linked)
    old = OLD[table]
    return draw(
        st.sampled_from(
            [
                f"ALTER TABLE {table} ALTER {old} SET NOT NULL",
                f"ALTER TABLE {table} ALTER {old} SET DEFAULT NULL",
                f"ALTER TABLE {table} ALTER {old} SET STATISTICS 250",
                f"ALTER TABLE {table} ALTER {old} TYPE text",
                f"ALTER TABLE {table} ALTER {old} TYPE varchar(40)",
                f"COMMENT ON COLUMN {table}.{old} IS 'it''s the import'",
                f"CREATE STATISTICS known_{draw(_number)} ON {old}, id FROM {table}",
                f"CREATE VIEW seen_{draw(_number)} AS SELECT id FROM {table}",
                f"CREATE VIEW seen_{draw(_number)} AS SELECT {old} FROM {table}",
                f"CREATE MATERIALIZED VIEW seen_{draw(_number)} AS SELECT count(*) FROM {table}",
                f"ALTER TABLE {table} SET (fillfactor = 70)",
                f"ALTER TABLE {table} REPLICA IDENTITY FULL",
                f"CREATE PUBLICATION told_{draw(_number)} FOR TABLE {table}",
                f"CREATE POLICY mine_{draw(_number)} ON {table} USING (id IS NOT NULL)",
                f"CREATE RULE kept_{draw(_number)} AS ON DELETE TO {table} WHERE false DO INSTEAD NOTHING",
                f"GRANT SELECT ON {table} TO PUBLIC",
                f"ALTER TABLE {table} RENAME id TO id",
            ]
        )
    )


_parts = st.one_of(_columns(), _generated(), _indexes(), _constraints(), _triggers(), _properties())


@settings(
    max_examples=times(3, 300), deadline=None, derandomize=not FULL, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(parts=st.lists(_parts, min_size=1, max_size=5))
def test_what_the_twin_lets_pass_works(postgres_server: str, parts: list[str]) -> None:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(with_database(postgres_server, "postgres"), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            _there_and_back(with_database(postgres_server, name), parts)
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _there_and_back(url: str, parts: list[str]) -> None:
    guide = Guide.new(url, sessions=100, rows=200)
    made = [part for part in parts if _is_made(guide, part)]
    catalogue, rows = guide.catalogue(), guide.rows()
    with tempfile.TemporaryDirectory() as folder:
        report = try_road(guide.flow(), Storage(f"{folder}/storage", Path(folder, "scratch")), "a test", {})
    assert (guide.catalogue(), guide.rows()) == (catalogue, rows)
    if report.obstacles:
        event("an obstacle is told")
        return
    event("there is a road")
    try:
        contracted(guide.flow())
        downgraded(guide.flow())
    except SessionAssetsError as error:
        raise AssertionError(f"the twin had not told: {error}; {made}") from error
    assert guide.catalogue() == catalogue, made
    assert _rows(guide) == _of(rows), made


def _is_made(guide: Guide, part: str) -> bool:
    """Whether the server takes a part, with those before it and the rows."""
    try:
        guide.run(part)
    except psycopg.Error:
        return False
    return True


def _rows(guide: Guide) -> dict[str, list[dict[str, object]]]:
    return _of(guide.rows())


def _of(rows: dict[str, list[tuple[dict[str, object]]]]) -> dict[str, list[dict[str, object]]]:
    """Without what triggers stamp: no undo brings it back, and the plan says so."""
    return {
        table: [{name: value for name, value in row.items() if name != "updated_at"} for (row,) in found]
        for table, found in rows.items()
    }
