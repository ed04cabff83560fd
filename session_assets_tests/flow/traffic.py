"""An application at work while the migration runs: plain statements on all five tables, each timed, none may fail."""

from __future__ import annotations

import random
import threading
import time
import uuid
from dataclasses import dataclass, field

import psycopg

ROLE = "flow_application"  # with no rights but those on its own tables
_GRANTS = """
    DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'flow_application') THEN CREATE ROLE flow_application; END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
    GRANT USAGE ON SCHEMA public TO flow_application;
    GRANT SELECT, INSERT, UPDATE, DELETE ON data_import_sessions, discovery_flows, assets, access_audit_log, flow_deletion_audit,
        llm_usage_logs TO flow_application;
"""
_FLOW = (
    "INSERT INTO discovery_flows (id, flow_id, client_account_id, engagement_id, user_id, flow_name, status"
    ", import_session_id) VALUES (%s, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'live', 'live', 'completed'"
)
_DELETION = "INSERT INTO flow_deletion_audit (id, flow_id, deletion_type) VALUES (%s, %s, 'live')"
_AUDIT = "INSERT INTO access_audit_log (id, user_id, {}, action_type) VALUES (%s, 'live', %s, 'read')"
_SOME = "(SELECT id FROM assets WHERE name LIKE 'live%%' LIMIT 3)"
_OLDEST = "(SELECT id FROM access_audit_log WHERE user_id <> 'live' LIMIT 1)"


@dataclass
class Traffic:
    """Threads that write until they are stopped. `names_sessions` is off as soon as the application has been changed."""

    url: str
    threads: int = 3
    names_sessions: threading.Event = field(default_factory=threading.Event)
    errors: list[str] = field(default_factory=list[str])
    longest: float = 0.0
    statements: int = 0
    kept: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.names_sessions.set()
        self._running: list[threading.Thread] = []

    def __enter__(self) -> Traffic:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_GRANTS.encode())
            self._sessions = [row[0] for row in connection.execute("SELECT id FROM data_import_sessions")]
            rows = connection.execute(
                "SELECT flow_id, import_session_id FROM discovery_flows WHERE import_session_id IS NOT NULL"
            )
            self._flows = rows.fetchall()
        self._running = [threading.Thread(target=self._work, args=(number,)) for number in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join()

    def stop_naming_sessions(self) -> None:
        """What a new release of the application does before contract; returns when no old statement is under way."""
        self.names_sessions.clear()
        before = self.statements
        while self.statements < before + 2 * self.threads and not self.errors:
            time.sleep(0.01)

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"SET ROLE {ROLE}".encode())
            while not self._stop.is_set():
                key = str(uuid.UUID(int=chance.getrandbits(128)))
                table, statement, values = self._statement(chance, key)
                began = time.monotonic()
                try:
                    connection.execute(statement.encode(), values)
                except psycopg.Error as error:
                    self.errors.append(f"{statement}: {error}")
                    return
                with self._lock:
                    self.longest = max(self.longest, time.monotonic() - began)
                    self.statements += 1
                    if statement.startswith("INSERT"):
                        self.kept.setdefault(table, set()).add(key)
                time.sleep(0.001)

    def _statement(self, chance: random.Random, key: str) -> tuple[str, str, list[object]]:
        session = chance.choice(self._sessions)
        flow, of_flow = chance.choice(self._flows)
        old = self.names_sessions.is_set()
        choices: list[tuple[str, str, list[object]]] = [
            (
                "",
                "UPDATE assets SET asset_type = 'live' WHERE id = (SELECT id FROM assets ORDER BY id DESC LIMIT 1)",
                [],
            ),
            ("", "UPDATE discovery_flows SET progress_percentage = 100 WHERE flow_id = %s", [flow]),
            ("discovery_flows", _FLOW.replace(", import_session_id", "") + ")", [key]),
            ("flow_deletion_audit", _DELETION, [key, flow]),
        ]
        if old:
            choices += [
                ("assets", "INSERT INTO assets (id, session_id, name) VALUES (%s, %s, 'live')", [key, session]),
                ("", f"UPDATE assets SET session_id = %s WHERE id IN {_SOME}", [session]),
                ("access_audit_log", _AUDIT.format("session_id"), [key, session]),
                (
                    "llm_usage_logs",
                    "INSERT INTO llm_usage_logs (session_id, provider) VALUES (%s, %s)",
                    [str(session), key],
                ),
                ("discovery_flows", f"{_FLOW}, %s)", [key, of_flow]),
                ("", f"DELETE FROM access_audit_log WHERE id = {_OLDEST}", []),
            ]
        else:
            choices += [
                ("assets", "INSERT INTO assets (id, flow_id, name) VALUES (%s, %s, 'live')", [key, flow]),
                ("access_audit_log", _AUDIT.format("flow_id"), [key, flow]),
                ("llm_usage_logs", "INSERT INTO llm_usage_logs (flow_id, provider) VALUES (%s, %s)", [str(flow), key]),
            ]
        return chance.choice(choices)
