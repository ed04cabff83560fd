"""The schema of a database, made again in its twin: all of it, but for what would act outside of the twin.

`pg_dump` writes it, entry by entry; each entry is run by us, so that one which fails is told and the others are there. What
reaches out is left out (subscriptions, user mappings, extensions that are not known to stay inside), functions that need it raise
when they are called, and their triggers are off. Foreign tables become plain ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from session_assets.masking import one_line
from session_assets.stores.flow_layout import q, raw

INSIDE = (
    "amcheck", "autoinc", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance",
    "fuzzystrmatch", "hstore", "hypopg", "insert_username", "intagg", "intarray", "isn", "ltree", "moddatetime",
    "pageinspect", "pg_buffercache", "pg_freespacemap", "pg_jsonschema", "pg_stat_statements", "pg_trgm", "pg_visibility",
    "pgcrypto", "pgrowlocks", "pgstattuple", "plpgsql", "postgis", "postgis_raster", "postgis_topology", "refint", "seg",
    "sslinfo", "tablefunc", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "vector", "xml2",
)  # fmt: skip
"""Extensions that are known to act inside their database only."""
_LANGUAGES = ("sql", "plpgsql")
_WORDS = re.compile(r"[a-z_][a-z0-9_$]*")
_OUTSIDE = re.compile(
    r"dblink\w*|copy|program|lo_(?:import|export)|pg_read_\w*|pg_ls_\w*|pg_stat_file|pg_(?:terminate|cancel)_backend|pg_reload_conf|pg_rotate_\w*"
    r"|pg_switch_wal|pg_logical_\w+|pg_replication_\w+|pg_(?:create|copy)_\w+_slot|pg_drop_replication_slot|pg_wal_\w+|pg_promote|http_(?:get|post|put|patch|delete|head)\w*"
)
"""Words of a function's text that act on files, other programs, other servers or other sessions."""
_LEFT_OUT = {
    "SUBSCRIPTION": "it would receive changes of another server",
    "SUBSCRIPTION TABLE": "",
    "USER MAPPING": "",
    "SERVER": "it leads to another server",
    "FOREIGN SERVER": "it leads to another server",
    "FOREIGN DATA WRAPPER": "",
    "TRANSFORM": "",
    "PROCEDURAL LANGUAGE": "",
    "SECURITY LABEL": "",
    "DATABASE": "",
    "DATABASE PROPERTIES": "",
    "ENCODING": "",
    "STDSTRINGS": "",
    "SEARCHPATH": "",
}
"""Kinds of entries that are never made; why, if a person should know."""
_LATE = (
    "CHECK CONSTRAINT", "CONSTRAINT", "EVENT TRIGGER", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "MATERIALIZED VIEW DATA",
    "POLICY", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "ROW SECURITY", "RULE", "STATISTICS",
    "STATISTICS DATA", "TRIGGER",
)  # fmt: skip
"""Kinds of entries that come after the rows."""
_HEADER = re.compile(
    r"^--\n-- TOC entry \d+ \(class (\d+) OID (\d+)\)\n(?:-- Dependencies: [^\n]*\n)?-- Name: ([^\n]*);"
    r" Type: ([A-Z ]+); Schema: ([^\n]*); Owner: [^\n]*\n--\n",
    re.MULTILINE,
)
_FUNCTIONS = """
    SELECT p.oid, p.proname, n.nspname, p.prokind::text, l.lanname, pg_get_functiondef(p.oid), pg_get_function_arguments(p.oid),
           pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid), p.provolatile::text
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""
_EXTENSIONS = "SELECT extname FROM pg_extension"
_MEMBERS = """
    SELECT lower(p.proname) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = ANY (%s)
"""
_FOREIGN = """
    SELECT c.oid, n.nspname, c.relname, ARRAY(
        SELECT format('%%I %%s', a.attname, format_type(a.atttypid, a.atttypmod)) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = %s
"""
_UNREADABLE = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
"""
_TRIGGERS = """
    SELECT format('%%I.%%I', n.nspname, c.relname), t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace m ON m.oid = p.pronamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND format('%%I.%%I', m.nspname, p.proname) = ANY (%s)
"""
_EVENTS = """
    SELECT e.evtname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace m ON m.oid = p.pronamespace
    WHERE format('%%I.%%I', m.nspname, p.proname) = ANY (%s)
"""
_SESSION = """
    SET check_function_bodies = off; SET client_min_messages = error; SET row_security = off; SET xmloption = content;
    SET default_tablespace = ''; SELECT set_config('search_path', '', false)
"""


@dataclass(frozen=True)
class Note:
    """What the twin lacks, so that it could not be tried."""

    about: str
    text: str


@dataclass(frozen=True)
class Entry:
    """A piece of the dump: the catalogue's numbers of what it makes, its kind, its name, and the SQL."""

    catalogue: int
    oid: int
    kind: str
    name: str
    text: str


@dataclass
class Plan:
    """What is made in the twin, in order, before and after its rows; what is left out; triggers that are turned off."""

    early: list[Entry] = field(default_factory=list[Entry])
    late: list[Entry] = field(default_factory=list[Entry])
    notes: list[Note] = field(default_factory=list[Note])
    stubs: list[str] = field(default_factory=list[str])


def unreadable(real: psycopg.Connection) -> list[str]:
    """Tables that the account may not read: `pg_dump` would stop at them."""
    return [row[0] for row in real.execute(_UNREADABLE).fetchall()]


def planned(real: psycopg.Connection, script: Path, without: list[str]) -> Plan:
    """What of a dump is made in the twin. `real` is read: functions that would reach out, foreign tables."""
    found = Plan(notes=[Note(f"table {name}", "this account may not read it") for name in without])
    outside = [name for (name,) in real.execute(_EXTENSIONS).fetchall() if name not in INSIDE]
    replaced = dict(_stubs(real, outside, found)) | dict(_stand_ins(real, found))
    for entry in entries(script.read_text(encoding="utf-8")):
        if entry.kind in _LEFT_OUT:
            if why := _LEFT_OUT[entry.kind]:
                found.notes.append(Note(f"{entry.kind.lower()} {entry.name}", f"left out: {why}"))
        elif entry.kind == "EXTENSION" and entry.name in outside:
            found.notes.append(
                Note(f"extension {entry.name}", "left out: it is not known to act inside its database only")
            )
        elif not _is_about(entry, outside):
            text = replaced.get((entry.catalogue, entry.oid), entry.text)
            late = entry.kind in _LATE or bool(found.late)
            (found.late if late else found.early).append(
                Entry(entry.catalogue, entry.oid, entry.kind, entry.name, text)
            )
    return found


def entries(script: str) -> Iterator[Entry]:
    """The entries of a plain dump that was made with `--verbose`."""
    headers = list(_HEADER.finditer(script))
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        text = script[header.end() : following.start() if following else len(script)]
        lines = [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
        yield Entry(int(header[1]), int(header[2]), header[4], header[3], "\n".join(lines))


def make(twin: psycopg.Connection, found: list[Entry], notes: list[Note]) -> None:
    """Run entries one by one; one that fails is a note."""
    twin.execute(_SESSION)
    for entry in found:
        if not entry.text.strip():
            continue
        try:
            with twin.transaction():
                twin.execute(entry.text.encode())
        except psycopg.Error as error:
            if entry.kind not in ("COMMENT", "ACL", "DEFAULT ACL"):
                primary = one_line(error.diag.message_primary or str(error)).rstrip(".")
                notes.append(
                    Note(f"{entry.kind.lower()} {entry.name}", f"could not be made ({error.sqlstate}): {primary}")
                )


def turn_off(twin: psycopg.Connection, found: Plan) -> None:
    """Triggers whose function reaches out do not fire: the rest is tried without them."""
    for table, trigger in twin.execute(_TRIGGERS, [found.stubs]).fetchall():
        twin.execute(q("ALTER TABLE {table} DISABLE TRIGGER {trigger}", table=raw(table), trigger=trigger))
        found.notes.append(
            Note(f"trigger {one_line(trigger)} on {table}", "is off on the twin, since its function may act outside")
        )
    for (name,) in twin.execute(_EVENTS, [found.stubs]).fetchall():
        twin.execute(q("ALTER EVENT TRIGGER {name} DISABLE", name=name))
        found.notes.append(
            Note(f"event trigger {one_line(name)}", "is off on the twin, since its function may act outside")
        )


def _is_about(entry: Entry, extensions: list[str]) -> bool:
    """Comments on extensions and languages that are left out."""
    return entry.kind == "COMMENT" and (
        entry.name.startswith(("SERVER ", "FOREIGN DATA WRAPPER ", "SUBSCRIPTION "))
        or entry.name.removeprefix("EXTENSION ").strip('"') in extensions
    )


def _stubs(real: psycopg.Connection, outside: list[str], found: Plan) -> Iterator[tuple[tuple[int, int], str]]:
    """Functions that reach out, each as one that raises."""
    members = {name for (name,) in real.execute(_MEMBERS, [outside]).fetchall()}
    catalogue = _oid(real, "pg_proc")
    for oid, name, schema, kind, language, text, arguments, identity, result, volatility in real.execute(
        _FUNCTIONS
    ).fetchall():
        words = set(_WORDS.findall(text.partition("(")[2].lower()))  # without its own name
        reasons = sorted(word for word in words if word in members or _OUTSIDE.fullmatch(word))
        if words & {"role", "user"} and words & {"create", "alter", "drop", "grant", "revoke"}:
            reasons.append("roles, which all databases of the server share")
        if language not in _LANGUAGES:
            reasons = [f"language {language}"]
        if not reasons:
            continue
        noun = "PROCEDURE" if kind == "p" else "FUNCTION"
        full = sql.Identifier(schema, name).as_string(real)
        found.stubs.append(_quoted(real, schema, name))
        told = f"{noun.lower()} {full}({identity})"
        found.notes.append(
            Note(one_line(told), f"raises if it is called: it may act outside ({', '.join(reasons[:3])})")
        )
        words_of = {"i": "IMMUTABLE", "s": "STABLE"}.get(volatility, "VOLATILE") if kind == "f" else ""
        returns = f"RETURNS {result}" if kind == "f" else ""
        body = sql.Literal(
            f"BEGIN RAISE EXCEPTION USING MESSAGE = {sql.Literal(f'{full} acts outside the twin').as_string(real)}; END"
        )
        yield (
            (catalogue, oid),
            f"CREATE {noun} {full}({arguments}) {returns} LANGUAGE plpgsql {words_of} AS {body.as_string(real)}",
        )


def _stand_ins(real: psycopg.Connection, found: Plan) -> Iterator[tuple[tuple[int, int], str]]:
    """Foreign tables as plain ones without rows."""
    catalogue = _oid(real, "pg_class")
    for oid, schema, name, columns in real.execute(_FOREIGN, ["f"]).fetchall():
        full = sql.Identifier(schema, name).as_string(real)
        found.notes.append(Note(f"foreign table {one_line(full)}", "is a table without rows in the twin"))
        yield (catalogue, oid), f"CREATE TABLE {full} ({', '.join(columns)})"


def _quoted(real: psycopg.Connection, *names: str) -> str:
    """As the server quotes it."""
    row = real.execute("SELECT format('%%I.%%I', %s::text, %s::text)", names).fetchone()
    assert row is not None
    return row[0]


def _oid(real: psycopg.Connection, name: str) -> int:
    row = real.execute("SELECT %s::regclass::oid", [name]).fetchone()
    assert row is not None
    return row[0]
