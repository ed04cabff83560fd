"""Backfill: flow ids into rows, old values into the archive, in keyset batches that are each a short transaction of their own.

A batch looks at a range of keys, locks the rows in it that need work, leaving out those that somebody else has locked at the
moment, writes, and moves the checkpoint in the same transaction. It never waits for a row, so it cannot end in a deadlock
with the application. Rows that were left out are visited again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from psycopg import sql
from psycopg.errors import QueryCanceled

from session_assets.errors import LockHeld
from session_assets.failpoints import failpoint
from session_assets.progress import tell
from session_assets.stores.flow_expand import count_rows
from session_assets.stores.flow_layout import Place, q, raw
from session_assets.stores.flow_made import make_flows
from session_assets.stores.flow_steps import StepRecord
from session_assets.stores.flow_waits import Pace, Throttle, patiently, short
from session_assets.stores.flow_work import Work

_ROUNDS = 20  # visits of rows that somebody else has locked
_EVERY = 5.0  # seconds between two lines of progress
_RANGE = """
    SELECT count(*), {last} FROM (SELECT {keys} FROM {table} t {after} ORDER BY {keys} LIMIT {limit}) t
"""
_FILL = """
    WITH seen AS MATERIALIZED (
        SELECT {keys_as}, t.{old} AS old_value, t.{flow} AS before, a.kept_flow_id AS kept
        FROM {table} t LEFT JOIN {archive} a ON {same} WHERE {within} AND {pending} FOR NO KEY UPDATE OF t SKIP LOCKED
    ), found AS MATERIALIZED (
        SELECT s.*, {named} AS named, {mapped} AS mapped FROM seen s
    ), wanted AS MATERIALIZED (
        SELECT w.*, CASE WHEN w.before IS NULL THEN COALESCE(w.kept, w.mapped, w.named, fb.flow) END AS flow,
               CASE WHEN w.kept IS NOT NULL THEN 'kept' WHEN w.mapped IS NOT NULL THEN 'session_mapped'
                    WHEN w.named IS NOT NULL THEN 'flow_named' ELSE 'fallback' END AS reason
        FROM found w LEFT JOIN LATERAL (
            SELECT {fallback} AS flow FROM {table} t WHERE {of_row} AND w.old_value IS NULL
        ) fb ON true
    ), filled AS (
        UPDATE {table} t SET {flow} = w.flow FROM wanted w WHERE {of_row} AND w.flow IS NOT NULL AND t.{flow} IS NULL
        RETURNING {returned}
    ), archived AS (
        INSERT INTO {archive} AS a ({archive_keys}, old_value, filled_flow_id)
        SELECT {wanted_keys}, w.old_value, w.flow FROM wanted w WHERE w.old_value IS NOT NULL OR w.flow IS NOT NULL
        ON CONFLICT ({archive_keys}) DO UPDATE SET old_value = EXCLUDED.old_value,
            filled_flow_id = COALESCE(EXCLUDED.filled_flow_id, a.filled_flow_id)
        RETURNING a.old_value
    )
    SELECT w.reason, count(*) FROM wanted w JOIN filled f ON {same_filled} GROUP BY 1
    UNION ALL SELECT '', count(old_value) FROM archived
"""
_ARCHIVE = """
    WITH seen AS MATERIALIZED (
        SELECT {keys_as}, t.{old} AS old_value FROM {table} t LEFT JOIN {archive} a ON {same}
        WHERE {within} AND {pending} FOR NO KEY UPDATE OF t SKIP LOCKED
    ), archived AS (
        INSERT INTO {archive} ({archive_keys}, old_value) SELECT {seen_keys}, s.old_value FROM seen s
        ON CONFLICT ({archive_keys}) DO UPDATE SET old_value = EXCLUDED.old_value RETURNING 1
    )
    SELECT '', count(*) FROM archived
"""


def backfill(work: Work, step: StepRecord) -> dict[str, Any]:
    """Make flows, then fill and archive every table. Resumable at each batch. Returns counts for the step's record."""
    throttle = Throttle(work.connection, work.limits, work.say)
    throttle.wait()
    made = make_flows(work, step)
    failpoint("flow.backfill.made")
    tables = {}
    for place in work.layout.places:
        tables[place.name] = Batches(work, step, place, throttle).run()
        failpoint(f"flow.backfill.{place.name}")
    work.connection.execute("ANALYZE")
    made_in_all = work.one(q("SELECT count(*) FROM {made} WHERE step = %s", made=work.layout.made), [step.id])
    return {
        "made": max(made, made_in_all),
        "tables": tables,
        "rows": {one.name: count_rows(work, one) for one in work.layout.places},
    }


class Batches:
    """The pass over one table."""

    def __init__(self, work: Work, step: StepRecord, place: Place, throttle: Throttle) -> None:
        self._work, self._step, self._place, self._throttle = work, step, place, throttle
        self._pace = Pace(work.limits)
        self._told = time.monotonic()
        self._statement = _statement(place)

    def run(self) -> dict[str, int]:
        """Rows written, by reason; `archived` values too."""
        work, name = self._work, self._place.name
        last, done, counts, is_finished = work.steps.reached(self._step, name)
        if is_finished and not work.one(_remaining(self._place, sql.SQL("true").format())):
            return counts
        if is_finished:  # an earlier process had finished it, and rows were changed by hand since
            last, done = None, 0
        total = count_rows(work, self._place)
        for round_ in range(_ROUNDS):
            is_whole = last is None  # else a killed process may have left rows out before
            left = 0
            while True:
                self._throttle.wait()
                batch = self._batch_after(last, done, counts)
                tables = [self._place.table.oid]
                number, within, last = patiently(
                    work.connection, work.limits, batch, f"backfill of {name}", tables, work.say
                )
                failpoint("flow.backfill.batch")
                if not number:
                    break
                left += work.one(_remaining(self._place, within))
                done += number
                self._tell(min(done, total), total)
            if not left and is_whole:
                work.steps.reach(self._step, name, last, done, counts, is_finished=True)
                return counts
            time.sleep(min(2.0, 0.1 * 2**round_) if left else 0)
            last, done = None, 0
        raise LockHeld(f"Rows of {name} are locked by others for long. Nothing is lost: run the step again.")

    def _tell(self, done: int, total: int) -> None:
        tell(self._place.name, done, total)
        if time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            self._work.say(f"{self._place.name}: {done:,} of {total:,} rows")

    def _batch_after(
        self, last: list[Any] | None, done: int, counts: dict[str, int]
    ) -> Callable[[], tuple[int, sql.Composed, list[Any] | None]]:
        def batch() -> tuple[int, sql.Composed, list[Any] | None]:
            while True:
                try:
                    return self._batch(last, done, counts)
                except QueryCanceled:  # the statement took too long
                    if not self._pace.slower(0.25):
                        raise

        return batch

    def _batch(
        self, last: list[Any] | None, done: int, counts: dict[str, int]
    ) -> tuple[int, sql.Composed, list[Any] | None]:
        """How many rows were looked at, where they are, and the last key of them."""
        work, place = self._work, self._place
        after = key_after(place, last)
        row = work.connection.execute(
            q(
                _RANGE, last=_last_key(place), keys=place.key_list("t"), table=place.ident,
                after=sql.SQL("WHERE {}").format(after) if last is not None else sql.SQL(""),
                limit=sql.Literal(self._pace.rows),  # no parameter: a key may hold a percent sign
            )
        ).fetchone()  # fmt: skip
        assert row is not None
        number, upper = row
        if not number:
            return 0, after, last
        within = sql.SQL("{} AND {}").format(after, key_until(place, upper))
        with self._pace.timed(), short(work.connection, work.limits):
            work.connection.execute("SET LOCAL jit = off")
            found = Counter(dict(work.connection.execute(self._statement(within)).fetchall()))
            archived = found.pop("", 0)
            merged = Counter(counts) + found + Counter({"archived": archived})
            work.steps.reach(self._step, place.name, upper, done + number, dict(merged), is_finished=False)
            failpoint("flow.backfill.before_commit")
        counts.clear()
        counts.update(merged)
        return number, within, upper


# -- statements --------------------------------------------------------------------------------------------------------


def pending(place: Place) -> sql.Composed:
    """Whether a row `t` with its entry `a` of the archive needs work."""
    archived = q("(t.{old} IS NOT NULL AND a.old_value IS DISTINCT FROM t.{old})", old=place.linked.old)
    if not place.follows:
        return archived
    old = sql.Identifier("t", place.linked.old)
    return q(
        "({archived} OR (t.{flow} IS NULL AND COALESCE(a.kept_flow_id, {followed}"
        ", CASE WHEN t.{old} IS NULL THEN {fallback} END) IS NOT NULL))",
        archived=archived, flow=place.linked.flow, followed=place.followed(old), old=place.linked.old,
        fallback=place.fallback("t"),
    )  # fmt: skip


def key_after(place: Place, last: list[Any] | None) -> sql.Composed:
    if last is None:
        return sql.SQL("true").format()
    return sql.SQL("({}) > ({})").format(place.key_list("t"), _values(place, last))


def key_until(place: Place, last: list[Any]) -> sql.Composed:
    return sql.SQL("({}) <= ({})").format(place.key_list("t"), _values(place, last))


def _remaining(place: Place, within: sql.Composed) -> sql.Composed:
    return q(
        "SELECT count(*) FROM {table} t LEFT JOIN {archive} a ON {same} WHERE {within} AND {pending}",
        table=place.ident, archive=place.archive, same=place.same_key("t", "a"), within=within, pending=pending(place),
    )  # fmt: skip


def _statement(place: Place) -> Callable[[sql.Composed], sql.Composed]:
    names = list(zip(place.keys, place.archive_keys, strict=True))
    old = sql.Identifier("s", "old_value")
    parts: dict[str, Any] = {
        "keys_as": sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier("t", a), sql.Identifier(b)) for a, b in names
        ),
        "old": place.linked.old,
        "table": place.ident,
        "archive": place.archive,
        "same": place.same_key("t", "a"),
        "pending": pending(place),
        "archive_keys": sql.SQL(", ").join(map(sql.Identifier, place.archive_keys)),
        "seen_keys": place.key_list("s", of_archive=True),
    }
    if not place.follows:
        return lambda within: q(_ARCHIVE, within=within, **parts)
    parts |= {
        "flow": place.linked.flow,
        "mapped": place.mapped(old),
        "named": place.named(old)
        if place.linked.holds_flow_ids
        else sql.SQL("CAST(NULL AS {})").format(raw(place.flow_type)),
        "fallback": place.fallback("t"),
        "of_row": place.same_key("t", "w"),
        "wanted_keys": place.key_list("w", of_archive=True),
        "returned": sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier("t", a), sql.Identifier(b)) for a, b in names
        ),
        "same_filled": sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("w", b), sql.Identifier("f", b)) for _, b in names
        ),
    }
    return lambda within: q(_FILL, within=within, **parts)


def _last_key(place: Place) -> sql.Composed:
    """The greatest key of a range as a JSON array of texts, compared as a row."""
    parts = sql.SQL(", ").join(sql.SQL("CAST({} AS text)").format(sql.Identifier("t", one)) for one in place.keys)
    return q("(array_agg(jsonb_build_array({parts}) ORDER BY {down}))[1]", parts=parts,
             down=sql.SQL(", ").join(sql.SQL("{} DESC").format(sql.Identifier("t", one)) for one in place.keys))  # fmt: skip


def _values(place: Place, last: list[Any]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("CAST({} AS {})").format(sql.Literal(value), raw(column.type))
        for value, column in zip(last, place.table.key, strict=True)
    )
