"""From the outbox to JetStream: in order, each event once, also when a publisher died between publishing and acknowledgement.

A job remembers the number of its last acknowledged event. While a page is in flight it also remembers the sequence that the
stream had before, in `publishing_after`: after a death the next publisher reads the stream from there and finds by its message id
what was sent, however long ago. Without a page in flight nothing is read, whatever the stream holds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping

import psycopg

from session_assets.changes.owner import Accepts
from session_assets.errors import LockHeld, StoreUnavailable
from session_assets.failpoints import failpoint
from session_assets.kintell.jobs import Job
from session_assets.kintell.outbox import SUBJECTS, Event, Lag
from session_assets.progress import tell
from session_assets.stores.kintell_jobs import events_lock
from session_assets.stores.kintell_owner import foreign_events
from session_assets.stores.kintell_schema import migrate_if_due
from session_assets.stores.nats import JetStream, Message
from session_assets.stores.postgres import Database

_PAGE = 1000  # events between two notes of how far we are: what is read back from the stream after a death
_PAUSES = (0.5, 1.0, 2.0)
# What is in flight comes first: until it is settled, each event that others publish is one more to read.
_DUE = """
    SELECT id::text FROM backfill_jobs WHERE events_total > events_published
    ORDER BY publishing_after IS NULL, created_at
"""
_CURSOR = """
    SELECT published_number, published_sequence, publishing_after, events_published, events_total FROM backfill_jobs
    WHERE id = %s
"""
_SENDING = "UPDATE backfill_jobs SET publishing_after = %s WHERE id = %s AND published_number = %s"
_ROWS = """
    SELECT job_id::text, number, kind, session_id::text, external_session_id, session_type, participant_id::text,
        volunteer_id::text, scheduled_at, completed_at, duration_minutes, language_level, rating, created_at
    FROM backfill_outbox WHERE job_id = %s AND number > %s ORDER BY number LIMIT %s
"""
_MOVE = """
    UPDATE backfill_jobs SET published_number = %(number)s, published_sequence = %(sequence)s,
        events_published = events_published + %(count)s, publishing_after = CASE WHEN %(more)s THEN %(sequence)s::bigint END
    WHERE id = %(job)s AND published_number = %(start)s
"""
_OLDEST = """
    SELECT min(o.created_at) FROM backfill_jobs j CROSS JOIN LATERAL (
        SELECT created_at FROM backfill_outbox o WHERE o.job_id = j.id AND o.number > j.published_number ORDER BY number LIMIT 1
    ) AS o WHERE j.events_total > j.events_published
"""


def lag(database: Database, job: Job | None = None) -> Lag:
    """How many events of all jobs, or of one, are published and how many wait."""
    with database.connected("kintell events") as connection:
        only = "WHERE id = %s" if job else "WHERE %s::text IS NULL"
        counted = "SELECT coalesce(sum(events_total), 0)::bigint, coalesce(sum(events_published), 0)::bigint FROM backfill_jobs "
        total, published = connection.execute(f"{counted}{only}", [job.id if job else None]).fetchone() or (0, 0)
        oldest = connection.execute(_OLDEST).fetchone()
    return Lag(total, published, oldest[0] if oldest else None)


def publish_events(database: Database, env: Mapping[str, str] | None = None, accepted: Accepts | None = None) -> int:
    """Publish the events of all jobs of this database that wait, the oldest job first; returns how many this call published.

    Goes on by itself after a short absence of NATS. A job whose events another publisher is at work on is left to it. Raises
    `NotConfigured` without NATS_URL, `StoreUnavailable`, `UsageError`; calling again goes on.
    """
    migrate_if_due(database)
    with database.connected("kintell events") as connection:
        foreign = foreign_events(connection, accepted)
        due = [row[0] for row in connection.execute(_DUE) if row[0] not in foreign]
    JetStream(SUBJECTS.values(), env)
    published = 0
    for job_id in due:
        try:
            with database.lock(events_lock(job_id), "kintell events", f"Events of job {job_id}"):
                published += _patiently(database, job_id, env)
        except LockHeld:
            continue
    return published


def _patiently(database: Database, job_id: str, env: Mapping[str, str] | None) -> int:
    published, patience = 0, iter(_PAUSES)
    while True:
        publication = Publication(database, job_id, env)
        try:
            asyncio.run(publication.run())
            return published + publication.published
        except StoreUnavailable as error:
            pause = next(patience, None)
            if error.store != "NATS" or pause is None:
                raise
            published += publication.published
            time.sleep(pause)


class Publication:
    """One way through the events of a job, from where the last one stands."""

    def __init__(self, database: Database, job_id: str, env: Mapping[str, str] | None) -> None:
        self._database = database
        self._job_id = job_id
        self._env = env
        self._seen: dict[str, int] = {}
        self.published = 0
        self.read = 0
        """Messages of the stream that were read."""

    async def run(self) -> None:
        async with JetStream(SUBJECTS.values(), self._env) as stream:
            with self._database.connected("kintell events") as connection:
                number, sequence, after, done, total = self._cursor(connection)
                events = self._page(connection, number)
                last = await stream.last_sequence()
                if after is not None:
                    if last < after:
                        sequence = after = 0  # the stream was made again: look through all of it
                    self._seen = await stream.find(after, {one.message_id for one in events})
                elif events:
                    sequence = last
                    connection.execute(_SENDING, [last, self._job_id, number])
                    failpoint("kintell.publishing")
                while events:
                    sequence = max(sequence, await self._sent(stream, events))
                    failpoint("kintell.published")
                    following = self._page(connection, events[-1].number)
                    self._move(connection, number, events, sequence, more=bool(following))
                    number, done, events = events[-1].number, done + len(events), following
                    tell("kintell events", done, total)
            self.read = stream.read

    async def _sent(self, stream: JetStream, events: list[Event]) -> int:
        """Publish what the stream does not hold yet; returns the highest sequence of these events."""
        held = [self._seen.pop(one.message_id, None) for one in events]
        fresh = [one for one, sequence in zip(events, held, strict=True) if sequence is None]
        sequences = await stream.publish(Message(one.message_id, one.subject, _body(one)) for one in fresh)
        self.published += len(fresh)
        return max([*sequences, *(one for one in held if one is not None)])

    def _cursor(self, connection: psycopg.Connection) -> tuple[int, int, int | None, int, int]:
        found = connection.execute(_CURSOR, [self._job_id]).fetchone()
        assert found is not None
        return found

    def _page(self, connection: psycopg.Connection, number: int) -> list[Event]:
        return [Event(*row) for row in connection.execute(_ROWS, [self._job_id, number, _PAGE])]

    def _move(
        self, connection: psycopg.Connection, start: int, events: list[Event], sequence: int, *, more: bool
    ) -> None:
        values = {"number": events[-1].number, "sequence": sequence, "count": len(events), "more": more}
        connection.execute(_MOVE, {**values, "job": self._job_id, "start": start})


_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _body(event: Event) -> bytes:
    return _as_json(event.envelope()).encode()
