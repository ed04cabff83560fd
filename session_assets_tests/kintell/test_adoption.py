"""Tables made where there are none, adopted where the original's are there, and what is found before the first row."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql

from session_assets.errors import NotConfigured, StoreUnavailable, UsageError
from session_assets.kintell.model import MISSING_USERS
from session_assets.kintell.preflight import PreflightFailed
from session_assets.stores import postgres
from session_assets.stores.kintell_preflight import make_ready, preflight
from session_assets.stores.kintell_recount import lost
from session_assets.stores.kintell_schema import NEWEST, Schema, migrate, migrate_if_due
from session_assets.stores.kintell_users import Users
from session_assets.stores.postgres import Database
from session_assets_tests.conftest import with_database
from session_assets_tests.kintell.scenario import VARIABLE, File, Kintell

# As the original platform makes them.
ORIGINAL = """
    CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email varchar(255) NOT NULL UNIQUE,
        role varchar(50) NOT NULL, first_name varchar(100), last_name varchar(100), password_hash varchar(255),
        journey_flags jsonb, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE kintell_sessions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), external_session_id varchar(255),
        session_type varchar(50) NOT NULL, participant_id uuid NOT NULL REFERENCES users (id),
        volunteer_id uuid NOT NULL REFERENCES users (id), scheduled_at timestamptz, completed_at timestamptz,
        duration_minutes integer, rating numeric(3,2), feedback_text text, language_level varchar(10), topics jsonb,
        metadata jsonb, created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON kintell_sessions (external_session_id);
    CREATE TABLE backfill_jobs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), file_name varchar(255) NOT NULL,
        total_rows integer NOT NULL, processed_rows integer NOT NULL DEFAULT 0, successful_rows integer NOT NULL DEFAULT 0,
        failed_rows integer NOT NULL DEFAULT 0, last_processed_row integer NOT NULL DEFAULT 0,
        status varchar(20) NOT NULL DEFAULT 'pending', error_file_path varchar(500), started_at timestamptz,
        completed_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO users (email, role) VALUES ('mary@example.com', 'participant');
    INSERT INTO kintell_sessions (external_session_id, session_type, participant_id, volunteer_id)
        SELECT 'old-' || n, 'language', id, id FROM users, generate_series(1, 3) n;
    INSERT INTO kintell_sessions (session_type, participant_id, volunteer_id) SELECT 'language', id, id FROM users;
    INSERT INTO kintell_sessions (session_type, participant_id, volunteer_id) SELECT 'language', id, id FROM users;
    INSERT INTO backfill_jobs (file_name, total_rows, status) VALUES ('old.csv', 3, 'completed')
"""


@pytest.fixture
def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.delenv("NATS_URL", raising=False)
    return Database.from_env(VARIABLE, {VARIABLE: postgres_url})


def execute(database: Database, statements: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(statements.encode())


def failed(database: Database, home: Path, size: int = 1000) -> dict[str, str]:
    """Messages of the checks that failed, warnings left out."""
    return {one.check: one.message for one in preflight(database, home, size) if not one.passed and not one.warning}


def catalog(database: Database) -> list[Any]:
    query = """
        SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2, 3
    """
    with psycopg.connect(database.url) as connection:
        return connection.execute(query).fetchall()


def test_an_empty_database_gets_all_tables(database: Database, tmp_path: Path) -> None:
    findings = make_ready(database, tmp_path, 1000)
    assert [one.check for one in findings if not one.passed] == ["nats_is_reachable"]
    with database.connected("test") as connection:
        schema = Schema(connection)
        assert (schema.missing_tables(), schema.missing_columns(), schema.missing_indexes()) == ([], [], [])
    before = catalog(database)
    make_ready(database, tmp_path, 1000)
    assert catalog(database) == before


def test_the_tables_of_the_original_are_adopted_with_their_rows(database: Database, tmp_path: Path) -> None:
    execute(
        database,
        ORIGINAL
        + "; ALTER TABLE kintell_sessions ALTER rating TYPE numeric(4,3), ALTER scheduled_at TYPE timestamptz(3)"
        "; ALTER TABLE users DROP CONSTRAINT users_email_key; CREATE UNIQUE INDEX ON users (lower(email))",
    )
    make_ready(database, tmp_path, 1000)
    kintell = Kintell.new(database.url)
    missing = pl.DataFrame(
        [(f"{name}@example.com", "volunteer", 1) for name in ("mary", "bob")], MISSING_USERS, orient="row"
    )
    with Users(database) as users:
        assert [users.create(missing) for _ in range(2)] == [1, 0]
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 5
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(database, "INSERT INTO kintell_sessions SELECT gen_random_uuid(), 'old-1', 'language', participant_id,"
                " volunteer_id FROM kintell_sessions LIMIT 1")  # fmt: skip
    job = kintell.run(File([kintell.row(1), kintell.row(2, external_session_id="old-2")]))
    assert (job.inserted_rows, job.updated_rows) == (1, 1)
    again = kintell.run(File([kintell.row(1), kintell.row(2, external_session_id="old-2"), "one more line"]))
    assert (again.skipped_rows, again.failed_rows) == (2, 1), "moments are compared as the table keeps them"
    assert [one.file_name for one in kintell.jobs.newest()] == ["sessions.csv", "sessions.csv", "old.csv"]
    kintell.revert(job.id)
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 5


def test_a_unique_index_that_is_there_is_not_made_twice(database: Database, tmp_path: Path) -> None:
    execute(database, ORIGINAL + "; ALTER TABLE kintell_sessions ADD CONSTRAINT once UNIQUE (external_session_id)")
    make_ready(database, tmp_path, 1000)
    assert not [row for row in catalog(database) if row[1] == "kintell_sessions_external_session_id_once"]


def test_duplicate_ids_are_listed_and_nothing_is_changed(database: Database, tmp_path: Path) -> None:
    execute(database, ORIGINAL + """;
        INSERT INTO kintell_sessions (external_session_id, session_type, participant_id, volunteer_id)
            SELECT 'old-' || n, 'language', id, id FROM users, generate_series(2, 3) n;
        INSERT INTO kintell_sessions (external_session_id, session_type, participant_id, volunteer_id)
            SELECT 'old-3', 'language', id, id FROM users""")  # fmt: skip
    before = catalog(database)
    with pytest.raises(
        PreflightFailed, match=r"holds 2 external_session_id more than once: old-3 \(3 times\), old-2 \(2 times\)"
    ):
        make_ready(database, tmp_path, 1000)
    assert catalog(database) == before


def test_a_unique_index_of_some_rows_does_not_hide_duplicates(database: Database, tmp_path: Path) -> None:
    execute(database, ORIGINAL + """;
        ALTER TABLE kintell_sessions ADD deleted_at timestamptz;
        CREATE UNIQUE INDEX ON kintell_sessions (external_session_id) WHERE deleted_at IS NULL;
        INSERT INTO kintell_sessions (external_session_id, session_type, participant_id, volunteer_id, deleted_at)
            SELECT 'old-2', 'language', id, id, now() FROM users""")  # fmt: skip
    with pytest.raises(PreflightFailed, match=r"holds 1 external_session_id more than once: old-2 \(2 times\)"):
        make_ready(database, tmp_path, 1000)


def test_a_table_that_was_dropped_is_found_before_the_first_row(database: Database, tmp_path: Path) -> None:
    make_ready(database, tmp_path, 1000)
    execute(database, "DROP TABLE backfill_outbox")
    assert failed(database, tmp_path)["tables_exist"].startswith(
        "backfill_outbox is gone, although our migrations had made"
    )


def test_an_index_that_was_dropped_is_found_before_the_first_row(database: Database, tmp_path: Path) -> None:
    make_ready(database, tmp_path, 1000)
    execute(database, "DROP INDEX kintell_sessions_external_session_id_once")
    found = failed(database, tmp_path)
    assert found.keys() == {"indexes_exist"}
    assert "a unique index on kintell_sessions (external_session_id) is missing" in found["indexes_exist"]
    execute(database, "DROP TABLE session_assets_kintell_version")
    make_ready(database, tmp_path, 1000)


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        ("ALTER duration_minutes TYPE text", "column_types_are_right", "kintell_sessions.duration_minutes is text, not integer"),
        ("ADD tenant uuid NOT NULL DEFAULT gen_random_uuid(); ALTER TABLE kintell_sessions ALTER tenant DROP DEFAULT",
         "no_unknown_column_is_required", "kintell_sessions.tenant must be given a value"),
        ("ALTER rating TYPE numeric(2,1)", "column_types_are_right", "kintell_sessions.rating is numeric(2,1), not numeric"),
        ("DROP CONSTRAINT kintell_sessions_pkey; ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE", "ids_are_keys",
         "kintell_sessions.id, users.id is not unique. Add what is missing, then run again: `ALTER TABLE kintell_sessions ADD"
         " PRIMARY KEY (id);` `ALTER TABLE users ADD PRIMARY KEY (id);`"),
        ("RENAME TO old; CREATE VIEW kintell_sessions AS SELECT * FROM old", "tables_are_tables", "kintell_sessions is a view"),
    ],
)  # fmt: skip
def test_a_table_that_imports_cannot_write_to_is_refused(
    database: Database, tmp_path: Path, change: str, check: str, message: str
) -> None:
    execute(database, f"{ORIGINAL}; ALTER TABLE kintell_sessions {change}")
    before = catalog(database)
    assert failed(database, tmp_path)[check].startswith(message)
    with pytest.raises(PreflightFailed, match="nothing was changed"):
        make_ready(database, tmp_path, 1000)
    assert catalog(database) == before


def test_a_full_disk_is_found_before_the_first_row(database: Database, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert failed(database, tmp_path / "not" / "made", free // 4) == {}
    found = failed(database, tmp_path, free)
    assert found.keys() == {"disk_is_free"}
    assert "SESSION_ASSETS_HOME" in found["disk_is_free"]


def test_a_database_that_cannot_be_reached_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_PAUSES", (0.01,))
    with pytest.raises(NotConfigured, match=VARIABLE):
        Database.from_env(VARIABLE, {})
    for url in ("mysql://mary:secret@127.0.0.1/x", "mary:secret@127.0.0.1"):
        with pytest.raises(UsageError, match=f"{VARIABLE} is not a PostgreSQL URL"):
            Database.from_env(VARIABLE, {VARIABLE: url})
    away = Database.from_env(VARIABLE, {VARIABLE: "postgresql+psycopg2://mary:secret@127.0.0.1:1/x"})
    with pytest.raises(StoreUnavailable, match=rf"PostgreSQL \({VARIABLE}\) cannot be used") as raised:
        preflight(away, tmp_path, 1000)
    assert "secret" not in str(raised.value) + repr(away)


def test_wrong_credentials_are_said_at_once(database: Database, tmp_path: Path) -> None:
    wrong = Database(VARIABLE, database.url.replace("postgres:", "postgres:wrong", 1))
    with pytest.raises(StoreUnavailable, match="password authentication failed"):
        preflight(wrong, tmp_path, 1000)


def test_migrations_of_two_processes_at_once(database: Database) -> None:
    with ThreadPoolExecutor(3) as pool:
        for one in [pool.submit(migrate, database) for _ in range(3)]:
            one.result()


def _as_version_2(kintell: Kintell) -> None:
    """The tables as the earlier version left them."""
    added = "phase, timezone, kept_rows, asked, publishing_after, rejects_closed_at, rejects_note, accepted_at, accepted_note"
    with kintell.connect() as connection:
        for name in added.split(", "):
            connection.execute(f"ALTER TABLE backfill_jobs DROP COLUMN {name}".encode())
        connection.execute("ALTER TABLE backfill_row_changes DROP COLUMN accepted_at")
        connection.execute("UPDATE session_assets_kintell_version SET version_num = '0002'")


def test_a_database_of_the_earlier_version_is_read_as_it_is_and_taken_over(kintell: Kintell) -> None:
    file = File([*(kintell.row(number) for number in range(20)), "Participant not found: x"])
    job = kintell.run(file)
    with kintell.connect() as connection:
        connection.execute(
            "UPDATE backfill_jobs SET published_number = 3, published_sequence = 7, events_published = 2"
        )
    _as_version_2(kintell)
    assert kintell.jobs.get(job.id).phase is None
    assert kintell.jobs.outstanding(job).open_rejects == 1
    assert lost(kintell.database) == ([], 20)
    migrate_if_due(kintell.database)
    assert kintell.one("SELECT publishing_after FROM backfill_jobs") == 7
    _as_version_2(kintell)
    assert kintell.revert(job.id).classes == {"removed": 20, "restored": 0}
    assert kintell.one("SELECT version_num FROM session_assets_kintell_version") == NEWEST


def test_locks_of_two_databases_do_not_meet(kintell: Kintell, postgres_server: str) -> None:
    """A copy of a database has the same jobs."""
    job = kintell.run(File([kintell.row(1)]))
    name, source = f"copy_{job.id[:8]}", kintell.one("SELECT current_database()")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        copying = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copying.format(sql.Identifier(name), sql.Identifier(source)))
        copy = Kintell(Database.from_env(VARIABLE, {VARIABLE: with_database(postgres_server, name)}))
        with kintell.jobs.hold(job):
            assert (bool(kintell.jobs.get(job.id).holder), copy.jobs.get(job.id).holder) == (True, None)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
