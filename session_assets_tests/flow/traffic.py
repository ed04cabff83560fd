"""An application at work while the migration runs: plain statements on all five tables, each timed, none may fail.

Every row belongs to one thread, which knows what must stand in it at the end.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import psycopg

from session_assets_tests.flow.scenario import OLD

ROLE = "flow_application"  # with no rights but those on its own tables
_GRANTS = """
    DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'flow_application') THEN CREATE ROLE flow_application; END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
    GRANT USAGE ON SCHEMA public TO flow_application;
    GRANT SELECT, INSERT, UPDATE, DELETE ON data_import_sessions, discovery_flows, assets, access_audit_log, flow_deletion_audit,
        llm_usage_logs TO flow_application;
"""
_NEEDED = {
    "discovery_flows": {"client_account_id": uuid.uuid4(), "engagement_id": uuid.uuid4(), "user_id": "live",
                        "flow_name": "live", "status": "completed"},
    "assets": {"name": "live"},
    "access_audit_log": {"user_id": "live", "action_type": "read"},
    "flow_deletion_audit": {"deletion_type": "live"},
    "llm_usage_logs": {"provider": "live"},
}  # fmt: skip
"""What a new row must have beside its key, its session and its flow."""
_PLAIN = {
    "discovery_flows": "progress_percentage", "assets": "asset_type", "access_audit_log": "action_type",
    "flow_deletion_audit": "deletion_type", "llm_usage_logs": "total_tokens",
}  # fmt: skip
"""A column that has nothing to do with the migration."""
_WAITS = """
    SELECT extract(epoch FROM clock_timestamp() - l.waitstart)::float8, l.mode || ' on ' || l.locktype,
           ARRAY(SELECT left(b.application_name || ': ' || b.query, 300) FROM pg_stat_activity b
                 WHERE b.pid = ANY (pg_blocking_pids(l.pid)))::text
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND l.waitstart IS NOT NULL AND a.application_name = 'flow_application' ORDER BY 1 DESC LIMIT 1
"""
_PLANTED = 300  # rows that stood there before, of each table and thread
Value = str | None


@dataclass
class Traffic:
    """Threads that read and write until they are stopped. `names_sessions` is off once the application has been changed."""

    url: str
    threads: int = 3
    names_sessions: threading.Event = field(default_factory=threading.Event)
    errors: list[str] = field(default_factory=list[str])
    longest: float = 0.0  # seconds of a statement
    longest_wait: float = 0.0  # for a lock, as the server says
    waited_for: str = ""
    statements: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.names_sessions.set()
        self._running: list[threading.Thread] = []

    def __enter__(self) -> Traffic:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_GRANTS.encode())
            self.sessions = [str(row[0]) for row in connection.execute("SELECT id FROM data_import_sessions")]
            rows = connection.execute(
                "SELECT flow_id::text, import_session_id::text FROM discovery_flows WHERE import_session_id IS NOT NULL"
            )
            self.flows = rows.fetchall()
            workers = [_Worker(self, number) for number in range(self.threads)]
            for table, old in OLD.items():
                text = f"SELECT id::text, {old}::text FROM {table} ORDER BY id LIMIT {_PLANTED * self.threads}"
                for number, (key, value) in enumerate(connection.execute(text.encode())):
                    workers[number % self.threads].rows[table][key] = value
        self._workers = workers
        self._running = [threading.Thread(target=one.run, args=(self._stop,)) for one in workers]
        self._running.append(threading.Thread(target=self._watch))
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
        for worker in self._workers:
            before = worker.done
            while worker.done < before + 2 and not self.errors:
                time.sleep(0.01)

    def rows(self) -> dict[str, dict[str, Value]]:
        """By table and key: the session that must stand in it, of all rows that the threads had to do with."""
        found: dict[str, dict[str, Value]] = {table: {} for table in OLD}
        for worker in self._workers:
            for table, rows in worker.rows.items():
                found[table] |= rows
        return found

    def gone(self) -> dict[str, set[str]]:
        """By table: keys that the threads have deleted."""
        return {table: set[str]().union(*(worker.gone[table] for worker in self._workers)) for table in OLD}

    def took(self, what: str, seconds: float) -> None:
        with self._lock:
            self.longest = max(self.longest, seconds)
            self.statements[what] += 1

    def _watch(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._stop.wait(0.005):
                for seconds, lock, holders in connection.execute(_WAITS).fetchall():
                    if seconds > self.longest_wait:
                        self.longest_wait, self.waited_for = seconds, f"{lock}, {holders}"


class _Worker:
    """One connection of the application, and the rows that are its own."""

    def __init__(self, traffic: Traffic, number: int) -> None:
        self._traffic, self._chance = traffic, random.Random(number)
        self.rows: dict[str, dict[str, Value]] = {table: {} for table in OLD}
        self.gone: dict[str, set[str]] = {table: set() for table in OLD}
        self.done = 0
        self._made = set[str]()

    def run(self, stop: threading.Event) -> None:
        with psycopg.connect(self._traffic.url, autocommit=True, application_name=ROLE) as connection:
            connection.execute(f"SET ROLE {ROLE}".encode())
            while not stop.is_set():
                table = self._chance.choice([*OLD])
                do = self._chance.choice((self._insert, self._update, self._touch, self._delete, self._select))
                try:
                    do(connection, table, self._traffic.names_sessions.is_set())
                except psycopg.Error as error:
                    self._traffic.errors.append(f"{do.__name__} {table}: {error}")
                    return
                self.done += 1
                time.sleep(0.001)

    # -- statements ----------------------------------------------------------------------------------------------------

    def _insert(self, connection: psycopg.Connection, table: str, old: bool) -> None:
        key = str(
            self._chance.getrandbits(60) if table == "llm_usage_logs" else uuid.UUID(int=self._chance.getrandbits(128))
        )
        session, flow = self._session(table), self._chance.choice(self._traffic.flows)[0]
        values: dict[str, object] = {"id": key, **_NEEDED[table]}
        if table == "discovery_flows":
            values["flow_id"] = uuid.uuid4()
        elif not old or table == "flow_deletion_audit":
            values["flow_id"] = flow
        if old:
            values[OLD[table]] = session
        names, holes = ", ".join(values), ", ".join(["%s"] * len(values))
        self._execute(connection, f"INSERT INTO {table} ({names}) VALUES ({holes})", [*values.values()])
        self.rows[table][key] = session if old else None
        self._made.add(key)

    def _update(self, connection: psycopg.Connection, table: str, old: bool) -> None:
        """Another session; of a flow only where it is ours, since rows follow the others."""
        key = self._own_key(table)
        if key is None or not old:
            return
        session = self._session(table) if self._chance.random() < 0.8 else None
        self._execute(connection, f"UPDATE {table} SET {OLD[table]} = %s WHERE id = %s", [session, key])
        self.rows[table][key] = session

    def _touch(self, connection: psycopg.Connection, table: str, _: bool) -> None:
        key = self._key(table)
        value = self._chance.randint(1, 99)
        self._execute(connection, f"UPDATE {table} SET {_PLAIN[table]} = %s WHERE id = %s", [value, key])

    def _delete(self, connection: psycopg.Connection, table: str, _: bool) -> None:
        key = self._own_key(table)
        if key is None or self._chance.random() < 0.3:
            return
        self._execute(connection, f"DELETE FROM {table} WHERE id = %s", [key])
        del self.rows[table][key]
        self.gone[table].add(key)

    def _select(self, connection: psycopg.Connection, table: str, old: bool) -> None:
        column, value = (OLD[table], self._session(table)) if old else ("id", self._key(table))
        self._execute(connection, f"SELECT id, {_PLAIN[table]} FROM {table} WHERE {column} = %s LIMIT 20", [value])

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _session(self, table: str) -> str:
        """A flow of ours is never the first of its session."""
        if table == "discovery_flows":
            return self._chance.choice(self._traffic.flows)[1]
        return self._chance.choice(self._traffic.sessions)

    def _key(self, table: str) -> str | None:
        return self._chance.choice([*self.rows[table]]) if self.rows[table] else None

    def _own_key(self, table: str) -> str | None:
        """Of flows only one that the thread has made: rows follow the others."""
        key = self._key(table)
        return None if table == "discovery_flows" and key not in self._made else key

    def _execute(self, connection: psycopg.Connection, statement: str, values: list[object]) -> None:
        began = time.monotonic()
        connection.execute(statement.encode(), values)
        self._traffic.took(" ".join(statement.split()[:1]), time.monotonic() - began)
