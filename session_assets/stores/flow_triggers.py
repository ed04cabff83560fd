"""Triggers that keep live writes right between expand and contract.

A write that names only the old column gets its flow, also in place of one that backfill had chosen; one that names a flow
is left. The archive follows every write of the old column. The functions run with the rights of their owner, since the
application need not have any on the archive, and do nothing in transactions of our own (`session_assets.flow_quiet`). Names
begin with `zz`: triggers fire in that order, and ours must see what others wrote.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_own_names import own_name

_HEAD = """
    CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS
"""
_QUIET = "IF current_setting('session_assets.flow_quiet', true) = 'on' THEN RETURN NULL; END IF;"
_FILL = """
BEGIN
    IF current_setting('session_assets.flow_quiet', true) = 'on' THEN RETURN NEW; END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.{flow} := {of_new};
    ELSIF OLD.{flow} IS NULL OR OLD.{flow} IS NOT DISTINCT FROM {of_old}
        OR EXISTS (SELECT FROM {archive} a WHERE {same_old} AND a.filled_flow_id = OLD.{flow}) THEN
        NEW.{flow} := {of_new};
    END IF;
    RETURN NEW;
END
"""
_ARCHIVE = """
BEGIN
    {quiet}
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {archive} a WHERE {same_old};
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF ({new_keys}) IS DISTINCT FROM ({old_keys}) THEN
            UPDATE {archive} a SET {moved} WHERE {same_old};
        END IF;
        IF NEW.{old} IS NULL THEN
            UPDATE {archive} a SET old_value = NULL WHERE {same_new};
        END IF;
    END IF;
    IF NEW.{old} IS NOT NULL THEN
        INSERT INTO {archive} AS a ({archive_keys}, old_value) VALUES ({new_keys}, NEW.{old})
        ON CONFLICT ({archive_keys}) DO UPDATE SET old_value = EXCLUDED.old_value;
    END IF;
    RETURN NULL;
END
"""
_EMPTY = "BEGIN {quiet} DELETE FROM {archive}; RETURN NULL; END"
_TRIGGERS = """
    CREATE OR REPLACE TRIGGER {archive_insert} AFTER INSERT ON {table} FOR EACH ROW WHEN (NEW.{old} IS NOT NULL)
        EXECUTE FUNCTION {archive_function}();
    CREATE OR REPLACE TRIGGER {archive_update} AFTER UPDATE ON {table} FOR EACH ROW
        WHEN (NEW.{old} IS DISTINCT FROM OLD.{old} OR ({new_keys}) IS DISTINCT FROM ({old_keys}))
        EXECUTE FUNCTION {archive_function}();
    CREATE OR REPLACE TRIGGER {archive_delete} AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {archive_function}();
    CREATE OR REPLACE TRIGGER {archive_truncate} AFTER TRUNCATE ON {table} FOR EACH STATEMENT
        EXECUTE FUNCTION {empty_function}();
"""
_FILL_TRIGGERS = """
    CREATE OR REPLACE TRIGGER {fill_insert} BEFORE INSERT ON {table} FOR EACH ROW
        WHEN (NEW.{flow} IS NULL AND NEW.{old} IS NOT NULL) EXECUTE FUNCTION {fill_function}();
    CREATE OR REPLACE TRIGGER {fill_update} BEFORE UPDATE ON {table} FOR EACH ROW
        WHEN (NEW.{old} IS DISTINCT FROM OLD.{old} AND NEW.{flow} IS NOT DISTINCT FROM OLD.{flow})
        EXECUTE FUNCTION {fill_function}();
"""
_KINDS = ("archive_insert", "archive_update", "archive_delete", "archive_truncate", "fill_insert", "fill_update")


def trigger_names(place: Place) -> list[str]:
    """The triggers that a place has between expand and contract."""
    return [f"zz_{OURS}_{kind}" for kind in _KINDS if place.follows or kind.startswith("archive")]


def create_triggers(connection: psycopg.Connection, place: Place) -> None:
    """Make functions and triggers, in the caller's transaction. Idempotent. Blocks writes to the table until it commits."""
    old, flow = place.linked.old, place.linked.flow
    names = {kind: sql.Identifier(f"zz_{OURS}_{kind}") for kind in _KINDS}
    functions = {
        f"{kind}_function": place.layout.own(own_name(kind, place.tag)) for kind in ("archive", "empty", "fill")
    }
    keys = {"new_keys": place.key_list("new"), "old_keys": place.key_list("old")}
    archive_keys = sql.SQL(", ").join(map(sql.Identifier, place.archive_keys))
    moved = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(a), sql.Identifier("new", b))
        for a, b in zip(place.archive_keys, place.keys, strict=True)
    )
    body = q(
        _ARCHIVE,
        quiet=sql.SQL(_QUIET), archive=place.archive, same_old=place.same_key("old", "a"), same_new=place.same_key("new", "a"),
        old=old, archive_keys=archive_keys, moved=moved, **keys,
    )  # fmt: skip
    _function(connection, functions["archive_function"], body)
    _function(connection, functions["empty_function"], q(_EMPTY, quiet=sql.SQL(_QUIET), archive=place.archive))
    connection.execute(q(_TRIGGERS, table=place.ident, old=old, **keys, **names, **functions))
    if place.follows:
        followed = {
            "of_new": place.followed(sql.Identifier("new", old)),
            "of_old": place.followed(sql.Identifier("old", old)),
            "archive": place.archive,
            "same_old": place.same_key("old", "a"),
        }
        _function(connection, functions["fill_function"], q(_FILL, flow=flow, **followed))
        connection.execute(q(_FILL_TRIGGERS, table=place.ident, old=old, flow=flow, **names, **functions))


def drop_triggers(connection: psycopg.Connection, place: Place) -> None:
    """Drop triggers and functions, in the caller's transaction. Idempotent."""
    for kind in _KINDS:
        connection.execute(q("DROP TRIGGER IF EXISTS {name} ON {table}", name=f"zz_{OURS}_{kind}", table=place.ident))
    for kind in ("archive", "empty", "fill"):
        connection.execute(q("DROP FUNCTION IF EXISTS {name}()", name=place.layout.own(own_name(kind, place.tag))))


def _function(connection: psycopg.Connection, name: sql.Identifier, body: sql.Composed) -> None:
    text = body.as_string(connection)
    connection.execute(sql.Composed([q(_HEAD, function=name), sql.Literal(text)]))
