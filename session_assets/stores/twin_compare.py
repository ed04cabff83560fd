"""What a database is, to be compared with what it was: its catalogue without the order of columns, and the rows of some tables.

Nothing here is shared with what the migration reads or writes, so that it cannot overlook the same things.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from session_assets.stores.flow_catalog import Table
from session_assets.stores.flow_layout import q

Catalogue = dict[tuple[str, str], str]
"""By kind and name: the definition."""
_OURS = "session\\_assets%"
_KEPT = "session_assets_twin"
"""The schema in which the twin keeps rows as they were."""
_IN_USE = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE %(ours)s"
_RELATION = f"{_IN_USE} AND c.relname NOT LIKE %(ours)s"
_CATALOGUE = f"""
    SELECT 'column', format('%%I.%%I.%%I', n.nspname, c.relname, a.attname), concat_ws(' ',
        format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        'DEFAULT ' || CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
        'GENERATED ' || CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
        'IDENTITY ' || nullif(a.attidentity::text, ''),
        'COLLATE ' || CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
        'GRANT ' || a.attacl::text, 'STORAGE ' || a.attstorage::text, 'COMPRESSION ' || nullif(a.attcompression::text, ''),
        'STATISTICS ' || nullif(a.attstattarget, -1), array_to_string(a.attoptions, ','),
        'COMMENT ' || col_description(a.attrelid, a.attnum))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped AND {_RELATION}
    UNION ALL SELECT 'table', format('%%I.%%I', n.nspname, c.relname), concat_ws(' ', c.relkind, c.relpersistence,
        'REPLICA IDENTITY ' || c.relreplident::text, CASE WHEN c.relrowsecurity THEN 'ROW SECURITY' END,
        CASE WHEN c.relforcerowsecurity THEN 'FORCED' END, array_to_string(c.reloptions, ','),
        'COMMENT ' || obj_description(c.oid, 'pg_class'), 'PARTITION ' || pg_get_expr(c.relpartbound, c.oid),
        'INHERITS ' || (SELECT string_agg(inhparent::regclass::text, ',' ORDER BY inhseqno) FROM pg_inherits
        WHERE inhrelid = c.oid), CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
        CASE WHEN c.relkind = 'm' THEN c.relispopulated::text END)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_RELATION}
    UNION ALL SELECT 'index', format('%%I.%%I', n.nspname, i.relname), concat_ws(' ', pg_get_indexdef(i.oid),
        CASE WHEN NOT x.indisvalid THEN 'INVALID' END, CASE WHEN x.indisclustered THEN 'CLUSTERED' END,
        CASE WHEN x.indisreplident THEN 'REPLICA IDENTITY' END, 'COMMENT ' || obj_description(i.oid, 'pg_class'))
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_RELATION} AND i.relname NOT LIKE %(ours)s AND c.relkind <> 't'
    UNION ALL SELECT 'constraint', format('%%I.%%I.%%I', n.nspname, c.relname, k.conname), concat_ws(' ',
        pg_get_constraintdef(k.oid), CASE WHEN NOT k.convalidated THEN 'NOT VALID' END, 'COMMENT ' ||
        obj_description(k.oid, 'pg_constraint'))
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype <> 'n' AND {_RELATION} AND k.conname NOT LIKE %(ours)s
    UNION ALL SELECT 'trigger', format('%%I.%%I.%%I', n.nspname, c.relname, t.tgname), concat_ws(' ', pg_get_triggerdef(t.oid),
        'ENABLED ' || t.tgenabled::text)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND {_RELATION} AND t.tgname NOT LIKE 'zz\\_session\\_assets%%'
    UNION ALL SELECT 'rule', format('%%I.%%I.%%I', n.nspname, c.relname, r.rulename), concat_ws(' ', pg_get_ruledef(r.oid),
        'ENABLED ' || r.ev_enabled::text)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.rulename <> '_RETURN' AND {_RELATION}
    UNION ALL SELECT 'policy', format('%%I.%%I.%%I', n.nspname, c.relname, p.polname), concat_ws(' ', p.polcmd, p.polpermissive,
        p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid), 'CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_RELATION}
    UNION ALL SELECT 'statistics', format('%%I.%%I', n.nspname, s.stxname), concat_ws(' ', pg_get_statisticsobjdef(s.oid),
        'TARGET ' || nullif(s.stxstattarget, -1), 'COMMENT ' || obj_description(s.oid, 'pg_statistic_ext'))
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {_IN_USE}
    UNION ALL SELECT 'function', format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
        CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) ELSE p.prokind::text END
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_IN_USE} AND p.proname NOT LIKE %(ours)s
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL SELECT 'type', format('%%I.%%I', n.nspname, t.typname), concat_ws(' ', t.typtype, t.typnotnull, t.typdefault,
        format_type(t.typbasetype, t.typtypmod), (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e
        WHERE e.enumtypid = t.oid), (SELECT string_agg(pg_get_constraintdef(k.oid), ',' ORDER BY k.conname) FROM pg_constraint k
        WHERE k.contypid = t.oid))
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd') AND {_IN_USE}
    UNION ALL SELECT 'publication', format('%%I', p.pubname), concat_ws(' ', p.puballtables, p.pubinsert, p.pubupdate,
        p.pubdelete, p.pubtruncate, p.pubviaroot, (SELECT string_agg(concat_ws(' ', format('%%I.%%I', x.schemaname, x.tablename),
        x.attnames::text, x.rowfilter), ',' ORDER BY x.schemaname, x.tablename)
        FROM pg_publication_tables x WHERE x.pubname = p.pubname AND x.tablename NOT LIKE %(ours)s
        AND x.schemaname NOT LIKE %(ours)s AND NOT p.puballtables))
    FROM pg_publication p
    UNION ALL SELECT 'event trigger', evtname,
        concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags::text) FROM pg_event_trigger
"""
_FIRES = """
    SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = %s AND c.relname = %s AND NOT t.tgisinternal AND t.tgenabled <> 'D')
"""
_BEFORE = "CREATE TABLE {before} AS SELECT jsonb_build_array({keys}) AS key, to_jsonb(t) AS row FROM {table} t"
_CHANGED = """
    SELECT CASE WHEN now.key IS NULL THEN 'lost' WHEN was.key IS NULL THEN 'new' ELSE 'changed' END,
           count(DISTINCT coalesce(was.key, now.key)),
           array_remove(array_agg(DISTINCT diff.name), NULL)
    FROM {before} was
    FULL JOIN (SELECT jsonb_build_array({keys}) AS key, to_jsonb(t) AS row FROM {table} t) now ON now.key = was.key
    LEFT JOIN LATERAL (
        SELECT coalesce(a.key, b.key) AS name FROM jsonb_each(was.row) a FULL JOIN jsonb_each(now.row) b ON a.key = b.key
        WHERE a.value IS DISTINCT FROM b.value
    ) diff ON was.key IS NOT NULL AND now.key IS NOT NULL
    WHERE was.row IS DISTINCT FROM now.row GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as before."""

    about: str
    text: str
    columns: tuple[str, ...] = ()
    """Of rows that are there with other values: which columns differ."""


def catalogue(connection: psycopg.Connection) -> Catalogue:
    """All objects of the users' schemas without those of the migration."""
    rows = connection.execute(_CATALOGUE.encode(), {"ours": _OURS}).fetchall()
    return {(kind, name): definition for kind, name, definition in rows}


def fingerprint(found: Catalogue) -> str:
    """Twelve characters that change whenever an object does."""
    return hashlib.sha256(json.dumps(sorted((*key, value) for key, value in found.items())).encode()).hexdigest()[:12]


def differences(was: Catalogue, now: Catalogue) -> list[Difference]:
    """What is gone, new, or defined otherwise."""
    found: list[Difference] = []
    for kind, name in sorted(was.keys() | now.keys()):
        before, after = was.get((kind, name)), now.get((kind, name))
        if before != after:
            text = "is gone" if after is None else "is new" if before is None else f"was “{before}” and is “{after}”"
            found.append(Difference(f"{kind} {name}", text))
    return found


def keep_rows(twin: psycopg.Connection, tables: Iterable[Table]) -> None:
    """Keep the rows of tables as they are."""
    twin.execute(q("CREATE SCHEMA IF NOT EXISTS {schema}", schema=_KEPT))
    for table in tables:
        twin.execute(q("DROP TABLE IF EXISTS {before}", before=_before(table)))
        twin.execute(q(_BEFORE, before=_before(table), **_parts(table)))


def changed_rows(twin: psycopg.Connection, tables: Iterable[Table]) -> list[Difference]:
    """Rows that are not as they were kept, by table and kind."""
    found: list[Difference] = []
    for table in tables:
        rows = twin.execute(q(_CHANGED, before=_before(table), **_parts(table))).fetchall()
        for kind, count, columns in rows:
            told = f"{count:,} rows are {kind}" + (f": {', '.join(columns)}" if columns else "")
            found.append(Difference(f"table {table.schema}.{table.name}", told, tuple(columns)))
    return found


def fires(twin: psycopg.Connection, table: Table) -> bool:
    """Whether a table has triggers of somebody else's that are on; ours are gone after the way back."""
    return twin.execute(_FIRES, [table.schema, table.name]).fetchone() == (True,)


def _before(table: Table) -> sql.Identifier:
    return sql.Identifier(_KEPT, f"{table.oid}")


def _parts(table: Table) -> dict[str, sql.Composable]:
    keys = sql.SQL(", ").join(sql.Identifier("t", one.name) for one in table.key)
    return {"table": sql.Identifier(table.schema, table.name), "keys": keys}


__all__ = ["Catalogue", "Difference", "catalogue", "changed_rows", "differences", "fingerprint", "fires", "keep_rows"]
