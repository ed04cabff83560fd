"""What the undo of a step leaves, row by row: a word that says why, and the row's table and key.

The same queries serve the dry run and the undo itself: they look at the tables, never at what an earlier command counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND
from session_assets.masking import safe_text
from session_assets.stores.flow_breaks import NOT_NULL, breaking, conditions, fails_without_flow
from session_assets.stores.flow_breaks import WORDS as BREAKS
from session_assets.stores.flow_breaks import dangles as of_keys
from session_assets.stores.flow_layout import REMADE_ARCHIVE, Place, q
from session_assets.stores.flow_memory import remembered
from session_assets.stores.flow_unfill import of_made, refused_flows
from session_assets.stores.flow_work import Work

LISTED = 100_000  # rows that are named; the counts are of all
WORDS = {
    "row_gone": "its row was deleted, or has another key now; the value stays in the archive",
    "session_deleted": "its session was deleted, so the foreign key would not hold; the value stays in the archive",
    "check_fails": "a CHECK does not hold for it: the constraint comes back NOT VALID; correct the row, then validate it",
    "key_fails": "some columns of a foreign key are empty: it comes back NOT VALID; correct the row, then validate it",
    "not_unique": "another row is like it: the constraint or index is missing; correct one of them, then add it",
    "no_value": "was written since and has no value: the column is without NOT NULL; give it one, then set NOT NULL",
    "needs_its_flow": "a CHECK would not hold for it without the flow id that we filled, so it stays",
    "emptied_since": "somebody emptied the column since; the value stays in the archive",
    "edited_since": "somebody changed it since, and it stays as it is",
    "deleted_since": "somebody deleted it since",
    "in_use": "rows that the application wrote refer to it, and it stays",
    "origin_unknown": "the archive that says whether we wrote its flow id was dropped by hand, so it stays",
    "remembered": "we made it and it stays; the table of made flows goes on to name it",
    "kept_in_archive": "its flow id is in no other place, so the archive keeps it for the next apply",
}
"""Why a row is left."""
HARMLESS = frozenset({"kept_in_archive", "remembered"})
"""Words of rows that lose nothing, and come back by themselves."""


@dataclass(frozen=True)
class Left:
    """A row that an undo leaves."""

    word: str
    table: str
    key: str
    condition: str = ""
    """The constraint, index or column that is missing or not validated because of it."""

    @property
    def text(self) -> str:
        what = f" ({safe_text(self.condition)})" if self.condition else ""
        return f"{self.word}: {self.table} {safe_text(self.key)}{what}: {WORDS[self.word]}"


def left_rows(work: Work, kind: str) -> list[Left]:
    """The rows that the undo of a step leaves, or has left; by table and key."""
    if kind == BACKFILL:
        flows = [Left(word, work.layout.places[0].name, flow) for flow, word in refused_flows(work)]
        found = (
            one
            for place in work.layout.followed
            for one in (*_edited(work, place), *_of_unknown_origin(work, place), *_needed(work, place))
        )
        return [*flows, *found]
    if kind == CONTRACT:
        return [one for place in work.layout.places for one in (*_archived_only(work, place), *_breaking(work, place))]
    assert kind == EXPAND
    flows = [Left("remembered", work.layout.places[0].name, flow) for flow in remembered(work)]
    found = (
        one for place in work.layout.places for one in (*_archived_only(work, place), *_kept_flow_ids(work, place))
    )
    return [*flows, *found]


def _edited(work: Work, place: Place) -> list[Left]:
    """Rows whose flow id we had filled, and which name another by now."""
    if place.archive_table is None or not place.has_flow:
        return []
    return _listed(
        work, place,
        q("SELECT {key}, 'edited_since' FROM {table} t JOIN {archive} a ON {same} WHERE a.filled_flow_id IS NOT NULL"
          " AND t.{flow} IS NOT NULL AND t.{flow} <> a.filled_flow_id ORDER BY 1 LIMIT {limit}",
          key=place.key_text("t"), table=place.ident, archive=place.archive, same=place.same_key("t", "a"),
          flow=place.linked.flow, limit=sql.Literal(LISTED)),
    )  # fmt: skip


def _needed(work: Work, place: Place) -> list[Left]:
    """Rows that cannot be without the flow id that we filled."""
    if place.archive_table is None or not place.has_flow:
        return []
    return _listed(
        work, place,
        q("SELECT {key}, 'needs_its_flow' FROM {table} t LEFT JOIN {archive} a ON {same} WHERE t.{flow} IS NOT NULL"
          " AND (a.filled_flow_id = t.{flow} OR {of_made}) AND {needed} ORDER BY 1 LIMIT {limit}",
          key=place.key_text("t"), table=place.ident, archive=place.archive, same=place.same_key("t", "a"),
          flow=place.linked.flow, of_made=of_made(place), needed=fails_without_flow(place), limit=sql.Literal(LISTED)),
    )  # fmt: skip


def _of_unknown_origin(work: Work, place: Place) -> list[Left]:
    """Rows with a flow id that the archive does not know, where a new archive was made for one that was dropped by hand."""
    if not place.has_flow or place.archive_table is None or not work.steps.kept(REMADE_ARCHIVE, place.name):
        return []
    return _listed(
        work, place,
        q("SELECT {key}, 'origin_unknown' FROM {table} t LEFT JOIN {archive} a ON {same} WHERE t.{flow} IS NOT NULL"
          " AND a.filled_flow_id IS NULL AND NOT {of_made} ORDER BY 1 LIMIT {limit}",
          key=place.key_text("t"), table=place.ident, archive=place.archive, same=place.same_key("t", "a"),
          flow=place.linked.flow, of_made=of_made(place), limit=sql.Literal(LISTED)),
    )  # fmt: skip


def _archived_only(work: Work, place: Place) -> list[Left]:
    """Old values that are in the archive only, or would be: before the undo the column is not there to hold them."""
    if place.archive_table is None:
        return []
    dangles = of_keys(work, place)
    stays = q("t.{old} IS NULL", old=place.linked.old) if place.has_old else q("(({gone}) OR ({dangles}))",
        gone=_gone(place), dangles=dangles)  # fmt: skip
    return _listed(
        work, place,
        q("SELECT {key}, CASE WHEN {gone} THEN 'row_gone' WHEN {dangles} THEN 'session_deleted' ELSE 'emptied_since' END"
          " FROM {archive} a LEFT JOIN {table} t ON {same} WHERE a.old_value IS NOT NULL AND {stays} ORDER BY 1 LIMIT {limit}",
          key=place.key_text("a", of_archive=True), gone=_gone(place), dangles=dangles, archive=place.archive,
          table=place.ident, same=place.same_key("t", "a"), stays=stays, limit=sql.Literal(LISTED)),
    )  # fmt: skip


def _breaking(work: Work, place: Place) -> Iterator[Left]:
    """Rows for which a condition on the old column does not hold; a value that stays in the archive is named already."""
    if place.archive_table is None:
        return
    for name, one in conditions(work, place).items():
        told = sql.SQL("NOT our_value") if one["kind"] == NOT_NULL else sql.SQL("true")
        statement = q(
            "SELECT our_key FROM ({rows}) r (our_key, our_value) WHERE {told} ORDER BY 1"
            " LIMIT {limit}", rows=breaking(work, place, one), told=told, limit=sql.Literal(LISTED),
        )  # fmt: skip
        for (key,) in work.connection.execute(statement).fetchall():
            yield Left(BREAKS[one["kind"]], place.name, key, name)


def _kept_flow_ids(work: Work, place: Place) -> list[Left]:
    """Flow ids that went with the column that expand had added."""
    if place.archive_table is None:
        return []
    return _listed(
        work, place,
        q("SELECT {key}, 'kept_in_archive' FROM {archive} a WHERE a.kept_flow_id IS NOT NULL ORDER BY 1 LIMIT {limit}",
          key=place.key_text("a", of_archive=True), archive=place.archive, limit=sql.Literal(LISTED)),
    )  # fmt: skip


def _gone(place: Place) -> sql.Composed:
    return q("t.{key} IS NULL", key=place.keys[0])


def _listed(work: Work, place: Place, statement: sql.Composed) -> list[Left]:
    return [Left(word, place.name, key) for key, word in work.connection.execute(statement).fetchall()]
