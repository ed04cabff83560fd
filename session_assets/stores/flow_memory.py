"""The memory of flows that we made: how each looked when we left it, so that an undo removes no flow that somebody edited.

What triggers of the application change in a transaction of ours is ours, too. A trigger of our own sees each such write,
whichever trigger caused it: if the row was as we had left it, the memory follows to the row as it is now. The comparison comes
first, so an earlier edit of the application is never hidden. Triggers fire in the order of their names, and one of theirs may
write the row before ours sees the first write: so the memory takes the row from the table, not from the trigger.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from session_assets.flow.model import EXPAND
from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_layout import Layout, q
from session_assets.stores.flow_own_names import own_name
from session_assets.stores.flow_waits import patiently, short
from session_assets.stores.flow_work import Work

TRIGGER = f"zz_{OURS}_made_update"
UNIQUE = f"{OURS}_made_session"
"""The constraint that a session has one flow of ours."""
_FUNCTION = """
    CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
    SET extra_float_digits = 1 AS {body}
"""
_BODY = """
BEGIN
    IF to_regclass({name}) IS NULL THEN RETURN NULL; END IF;
    UPDATE {made} m SET content = to_jsonb(f) - {session}::text FROM {flows} f
    WHERE f.{flow} = NEW.{flow} AND m.flow_id = NEW.{flow} AND m.content = to_jsonb(OLD) - {session}::text;
    RETURN NULL;
END
"""
_TRIGGER = """
    CREATE OR REPLACE TRIGGER {name} AFTER UPDATE ON {flows} FOR EACH ROW
    WHEN (current_setting('session_assets.flow_quiet', true) = 'on') EXECUTE FUNCTION {function}()
"""


def create_memory(connection: psycopg.Connection, layout: Layout) -> None:
    """Make the trigger, in the caller's transaction. Idempotent. Blocks writes to the flows until it commits."""
    session = sql.Literal(layout.migration.flows.session)
    body = q(
        _BODY, made=layout.made, name=sql.Literal(layout.made.as_string(connection)), session=session,
        flows=layout.flows_ident, flow=layout.flow,
    )  # fmt: skip
    function = _function(layout)
    connection.execute(q(_FUNCTION, function=function, body=sql.Literal(body.as_string(connection))))
    connection.execute(q(_TRIGGER, name=TRIGGER, flows=layout.flows_ident, function=function))


def drop_memory(connection: psycopg.Connection, layout: Layout) -> None:
    """Drop the trigger, in the caller's transaction. Idempotent."""
    connection.execute(q("DROP TRIGGER IF EXISTS {name} ON {flows}", name=TRIGGER, flows=layout.flows_ident))
    connection.execute(q("DROP FUNCTION IF EXISTS {name}()", name=_function(layout)))


def rename_session(work: Work) -> None:
    """Let no name of ours be like those that contract drops, whichever version made it: people count them by LIKE."""
    layout = work.layout
    if layout.made_session == "session" or not layout.has_made:
        return
    unique = work.connection.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'u' AND conname <> %s",
        [layout.made.as_string(work.connection), UNIQUE],
    ).fetchall()

    def rename() -> None:
        with short(work.connection, work.limits):
            for (name,) in unique:
                work.connection.execute(
                    q(
                        "ALTER TABLE {made} RENAME CONSTRAINT {name} TO {unique}",
                        made=layout.made,
                        name=name,
                        unique=UNIQUE,
                    )
                )
            work.connection.execute(
                q("ALTER TABLE {made} RENAME {old} TO session", made=layout.made, old=layout.made_session)
            )

    patiently(work.connection, work.limits, rename, "the table of made flows", [layout.flows.oid], work.say)
    work.reload()


def require_memory(work: Work) -> None:
    """Make the trigger where an earlier version began the migration, or somebody dropped it."""
    found = work.one(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s AND tgname = %s AND tgenabled <> 'D'",
        [work.layout.flows.oid, TRIGGER],
    )
    if found or not work.layout.has_made:
        return

    def make() -> None:
        with short(work.connection, work.limits):
            create_memory(work.connection, work.layout)

    patiently(work.connection, work.limits, make, "the memory of made flows", [work.layout.flows.oid], work.say)


def is_begun(work: Work) -> bool:
    """Whether the migration is begun and not taken back to its beginning: the memory alone may outlive it."""
    if not work.layout.has_made:
        return False
    if not all(one.has_old for one in work.layout.places):
        return True
    oids = [one.table.oid for one in work.layout.places]
    found = work.one(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = ANY (%s) AND starts_with(tgname, %s)", [oids, f"zz_{OURS}"]
    )
    expand = work.steps.newest(EXPAND)
    return bool(found) or expand is None or expand.state != "undone"


def remembered(work: Work) -> list[str]:
    """Flows that we made and that are there."""
    if not work.layout.has_made:
        return []
    rows = work.connection.execute(
        q("SELECT m.flow_id::text FROM {made} m JOIN {flows} f ON f.{flow} = m.flow_id ORDER BY 1",
          made=work.layout.made, flows=work.layout.flows_ident, flow=work.layout.flow)
    ).fetchall()  # fmt: skip
    return [row[0] for row in rows]


def count_others(work: Work) -> int:
    """Flows that we did not make."""
    layout = work.layout
    if not layout.has_made:
        return work.one(q("SELECT count(*) FROM {flows}", flows=layout.flows_ident))
    return work.one(
        q("SELECT count(*) FROM {flows} f WHERE NOT EXISTS (SELECT FROM {made} m WHERE m.flow_id = f.{flow})",
          flows=layout.flows_ident, made=layout.made, flow=layout.flow)
    )  # fmt: skip


def forget_gone(work: Work) -> int:
    """Let the memory name only flows that are there, in the caller's transaction, and drop it where it names none.

    Returns how many it names.
    """
    if not work.layout.has_made:
        return 0
    work.connection.execute(
        q("DELETE FROM {made} m WHERE NOT EXISTS (SELECT FROM {flows} f WHERE f.{flow} = m.flow_id)",
          made=work.layout.made, flows=work.layout.flows_ident, flow=work.layout.flow)
    )  # fmt: skip
    left = work.one(q("SELECT count(*) FROM {made}", made=work.layout.made))
    if not left:
        work.connection.execute(q("DROP TABLE {made}", made=work.layout.made))
    return left


def _function(layout: Layout) -> sql.Identifier:
    return layout.own(own_name("made", layout.flows.name))
