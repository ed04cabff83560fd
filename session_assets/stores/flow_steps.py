"""The record of the migration in the database that it changes: steps, checkpoints, what we added, what we dropped, flows made."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from session_assets.changes.target import StoreTarget
from session_assets.errors import UsageError
from session_assets.flow.model import REHEARSAL, TARGET, Migration
from session_assets.masking import safe_text
from session_assets.stores.flow_catalog import OURS, find_table
from session_assets.stores.flow_layout import q
from session_assets.stores.postgres_target import postgres_target

_TABLES = """
    CREATE TABLE IF NOT EXISTS {steps} (
        id text PRIMARY KEY, kind text NOT NULL, state text NOT NULL, started_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz, who text NOT NULL, fingerprint text, counts jsonb NOT NULL DEFAULT '{{}}', note text,
        target jsonb
    );
    CREATE TABLE IF NOT EXISTS {progress} (
        step text NOT NULL, place text NOT NULL, last jsonb, done bigint NOT NULL DEFAULT 0, counts jsonb NOT NULL DEFAULT '{{}}',
        is_finished boolean NOT NULL DEFAULT false, PRIMARY KEY (step, place)
    );
    CREATE TABLE IF NOT EXISTS {objects} (
        place text NOT NULL, kind text NOT NULL, name text NOT NULL, definition jsonb NOT NULL DEFAULT '{{}}',
        number bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (place, kind, name)
    );
"""
_SHOWN = 10
_COLUMNS = "s.id, s.kind, s.state, s.started_at, s.finished_at, s.who, s.fingerprint, s.counts, s.note, to_jsonb(s) -> 'target'"


@dataclass(frozen=True)
class StepRecord:
    """A step as it is recorded. state: running | completed | failed | undone."""

    id: str
    kind: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    who: str
    fingerprint: str | None
    counts: dict[str, Any]
    note: str | None
    target: StoreTarget | None = None
    """The database on which it was done, as its server said then; None in what version 0.1 recorded."""


class Steps:
    """Reads and writes the record. Every call is its own transaction, or part of the caller's."""

    def __init__(self, connection: psycopg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self.steps, self.progress, self.objects = (
            sql.Identifier(schema, f"{OURS}_{name}") for name in ("steps", "progress", "objects")
        )

    def exist(self) -> bool:
        """Whether anything was recorded so far."""
        found = self._connection.execute(
            "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s", [self._schema, f"{OURS}_steps"]
        )
        return found.fetchone() is not None

    def create(self) -> None:
        if not self.exist():
            self._connection.execute(q(_TABLES, steps=self.steps, progress=self.progress, objects=self.objects))

    def adopt(self, now: StoreTarget) -> None:
        """Steps that version 0.1 recorded are of the database that they are found in first. Marked once."""
        if not self.exist():
            return
        self._connection.execute(q("ALTER TABLE {steps} ADD COLUMN IF NOT EXISTS target jsonb", steps=self.steps))
        self._connection.execute(
            q("UPDATE {steps} SET target = %s WHERE target IS NULL", steps=self.steps), [Jsonb(now.as_dict())]
        )

    def move_to(self, now: StoreTarget) -> None:
        """All steps are of this database: a twin's, to which they were copied."""
        self._connection.execute(q("UPDATE {steps} SET target = %s", steps=self.steps), [Jsonb(now.as_dict())])

    # -- steps ---------------------------------------------------------------------------------------------------------

    def begin(self, kind: str) -> StepRecord:
        """The step of a kind that was not finished, else a new one. The caller holds the lock of the migration."""
        self.create()
        found = self.newest(kind)
        if found is not None and found.state in ("running", "failed"):
            self._connection.execute(
                q(
                    "UPDATE {steps} SET state = 'running', note = NULL, who = %s,"
                    " started_at = CASE WHEN kind = %s THEN clock_timestamp() ELSE started_at END WHERE id = %s",
                    steps=self.steps,
                ),
                [_who(), REHEARSAL, found.id],  # a rehearsal does not go on where it stopped, it begins anew
            )
            return found
        step_id = secrets.token_hex(6)
        self._connection.execute(
            q(
                "INSERT INTO {steps} (id, kind, state, who, target) VALUES (%s, %s, 'running', %s, %s)",
                steps=self.steps,
            ),
            [step_id, kind, _who(), Jsonb(postgres_target(self._connection, TARGET).as_dict())],
        )
        return self.get(step_id)

    def complete(
        self, step: StepRecord, counts: dict[str, Any], fingerprint: str, note: str | None = None
    ) -> StepRecord:
        self._connection.execute(
            q(
                "UPDATE {steps} SET state = 'completed', finished_at = clock_timestamp(), counts = %s, fingerprint = %s,"
                " note = %s WHERE id = %s",
                steps=self.steps,
            ),
            [Jsonb(counts), fingerprint, note, step.id],
        )
        return self.get(step.id)

    def mark(self, step: StepRecord, state: str, note: str | None = None) -> None:
        self._connection.execute(
            q("UPDATE {steps} SET state = %s, note = %s WHERE id = %s", steps=self.steps),
            [state, None if note is None else safe_text(note)[:500], step.id],
        )

    def undone(self, *kinds: str) -> None:
        """Steps of some kinds do not count any more."""
        self._connection.execute(
            q("UPDATE {steps} SET state = 'undone' WHERE kind = ANY (%s) AND state <> 'undone'", steps=self.steps),
            [list(kinds)],
        )

    def newest(self, kind: str, state: str | None = None) -> StepRecord | None:
        if not self.exist():
            return None
        row = self._connection.execute(
            q(
                "SELECT {columns} FROM {steps} s WHERE kind = %s AND (%s::text IS NULL OR state = %s)"
                " ORDER BY started_at DESC, finished_at DESC NULLS FIRST LIMIT 1",
                columns=sql.SQL(_COLUMNS), steps=self.steps,
            ),
            [kind, state, state],
        ).fetchone()  # fmt: skip
        return _record(row) if row else None

    def get(self, step_id: str) -> StepRecord:
        """Raises `UsageError` where there is no such step."""
        row = None
        if self.exist():
            row = self._connection.execute(
                q("SELECT {columns} FROM {steps} s WHERE id = %s", columns=sql.SQL(_COLUMNS), steps=self.steps),
                [step_id],
            ).fetchone()
        if row is None:
            told = ", ".join(f"{one.kind} {one.id} ({one.state})" for one in self.all()[:_SHOWN]) or "none"
            raise UsageError(f"There is no step {safe_text(step_id)}. Recorded, the newest first: {told}.")
        return _record(row)

    def all(self) -> list[StepRecord]:
        """The newest first."""
        if not self.exist():
            return []
        rows = self._connection.execute(
            q("SELECT {columns} FROM {steps} s ORDER BY started_at DESC", columns=sql.SQL(_COLUMNS), steps=self.steps)
        )
        return [_record(row) for row in rows]

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def reached(self, step: StepRecord, place: str) -> tuple[list[Any] | None, int, dict[str, int], bool]:
        """The last key, the rows done, their counts, and whether the place is finished."""
        row = self._connection.execute(
            q(
                "SELECT last, done, counts, is_finished FROM {progress} WHERE step = %s AND place = %s",
                progress=self.progress,
            ),
            [step.id, place],
        ).fetchone()
        return (row[0], row[1], row[2], row[3]) if row else (None, 0, {}, False)

    def reach(
        self, step: StepRecord, place: str, last: Any, done: int, counts: dict[str, int], *, is_finished: bool
    ) -> None:
        self._connection.execute(
            q(
                "INSERT INTO {progress} (step, place, last, done, counts, is_finished) VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (step, place) DO UPDATE SET last = EXCLUDED.last, done = EXCLUDED.done,"
                " counts = EXCLUDED.counts, is_finished = EXCLUDED.is_finished",
                progress=self.progress,
            ),
            [step.id, place, None if last is None else Jsonb(last), done, Jsonb(counts), is_finished],
        )

    # -- objects -------------------------------------------------------------------------------------------------------

    def keep(self, place: str, kind: str, name: str, definition: Any = None) -> None:
        """Remember an object: one that we added, or one that we drop. What is remembered is not overwritten."""
        self._connection.execute(
            q(
                "INSERT INTO {objects} (place, kind, name, definition) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                objects=self.objects,
            ),
            [place, kind, name, Jsonb({} if definition is None else definition)],
        )

    def kept(self, kind: str, place: str | None = None) -> list[tuple[str, str, dict[str, Any]]]:
        """Objects of a kind: their place, name, definition, in the order in which they were remembered."""
        if not self.exist():
            return []
        rows = self._connection.execute(
            q(
                "SELECT place, name, definition FROM {objects} WHERE kind = %s AND (%s::text IS NULL OR place = %s)"
                " ORDER BY number",
                objects=self.objects,
            ),
            [kind, place, place],
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def forget(self, place: str, kind: str, name: str | None = None) -> None:
        self._connection.execute(
            q(
                "DELETE FROM {objects} WHERE place = %s AND kind = %s AND (%s::text IS NULL OR name = %s)",
                objects=self.objects,
            ),
            [place, kind, name, name],
        )


def steps_of(connection: psycopg.Connection, migration: Migration) -> Steps | None:
    """The record in the schema of the flows; None where there is no table of flows."""
    found = find_table(connection, migration.flows.name)
    return Steps(connection, found[1]) if found else None


def _record(row: Sequence[Any]) -> StepRecord:
    return StepRecord(*row[:-1], target=None if row[-1] is None else StoreTarget.from_dict(row[-1]))


def describe(step: StepRecord) -> dict[str, Any]:
    """A step for `--json` and for tables."""
    said = vars(step) | {"target": None if step.target is None else step.target.shown}
    return json.loads(json.dumps(said, default=str))


def _who() -> str:
    return f"{os.environ.get('USER') or 'uid ' + str(os.getuid())} on {socket.gethostname()}, pid {os.getpid()}"
