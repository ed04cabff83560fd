"""What the undo of a step leaves, row by row: a word that says why, and the row's table and key.

The same queries serve the dry run and the undo itself: they look at the tables, never at what an earlier command counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND
from session_assets.masking import safe_text
from session_assets.stores.flow_layout import REMADE_ARCHIVE, Place, q, raw
from session_assets.stores.flow_memory import remembered
from session_assets.stores.flow_unfill import of_made, refused_flows
from session_assets.stores.flow_work import Work

LISTED = 100_000  # rows that are named; the counts are of all
WORDS = {
    "row_gone": "its row was deleted, or has another key now; the value stays in the archive",
    "session_deleted": "its session was deleted, so the foreign key would not hold; the value stays in the archive",
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

    @property
    def text(self) -> str:
        return f"{self.word}: {self.table} {safe_text(self.key)}: {WORDS[self.word]}"


def left_rows(work: Work, kind: str) -> list[Left]:
    """The rows that the undo of a step leaves, or has left; by table and key."""
    if kind == BACKFILL:
        flows = [Left(word, work.layout.places[0].name, flow) for flow, word in refused_flows(work)]
        found = (
            one for place in work.layout.followed for one in (*_edited(work, place), *_of_unknown_origin(work, place))
        )
        return [*flows, *found]
    if kind == CONTRACT:
        return [one for place in work.layout.places for one in _archived_only(work, place)]
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
    dangles = _dangles(work, place)
    stays = q("t.{old} IS NULL", old=place.linked.old) if place.has_old else q("(({gone}) OR ({dangles}))",
        gone=_gone(place), dangles=dangles)  # fmt: skip
    return _listed(
        work, place,
        q("SELECT {key}, CASE WHEN {gone} THEN 'row_gone' WHEN {dangles} THEN 'session_deleted' ELSE 'emptied_since' END"
          " FROM {archive} a LEFT JOIN {table} t ON {same} WHERE a.old_value IS NOT NULL AND {stays} ORDER BY 1 LIMIT {limit}",
          key=place.key_text("a", of_archive=True), gone=_gone(place), dangles=dangles, archive=place.archive,
          table=place.ident, same=place.same_key("t", "a"), stays=stays, limit=sql.Literal(LISTED)),
    )  # fmt: skip


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


def _dangles(work: Work, place: Place) -> sql.Composed:
    """Whether an archived value names a row that a foreign key needs and that is gone, now or when contract dropped it."""
    keys = [
        (one["target"], one["target_columns"][0])
        for _, _, one in work.steps.kept("dropped_constraint", place.name)
        if one["kind"] == "f" and one["columns"] == [place.linked.old]
    ] + [
        (one.target, one.target_columns[0])
        for one in place.table.constraints
        if one.kind == "f" and one.columns == [place.linked.old] and one.target is not None
    ]
    parts = [
        q("NOT EXISTS (SELECT FROM {target} r WHERE r.{column} = a.old_value)", target=raw(target), column=column)
        for target, column in dict.fromkeys(keys)
    ]
    return sql.SQL(" OR ").join(parts) if parts else sql.SQL("false").format()


def _listed(work: Work, place: Place, statement: sql.Composed) -> list[Left]:
    return [Left(word, place.name, key) for key, word in work.connection.execute(statement).fetchall()]
