"""The rights that the migration needs, each asked for by name before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg

from session_assets.flow.model import Migration
from session_assets.flow.obstacle import APPLY, REHEARSAL, Obstacle
from session_assets.stores.flow_catalog import Table
from session_assets.stores.flow_work import Work

PAGE = "docs/flow/migration.md, Rights and settings"
_ROLE = "SELECT quote_ident(current_user), rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
_SCHEMA = "SELECT has_schema_privilege(oid, 'CREATE'), quote_ident(nspname) FROM pg_namespace WHERE nspname = %s"
_OWNER = """
    SELECT pg_has_role(c.relowner, 'USAGE'), quote_ident(pg_get_userbyid(c.relowner)), c.oid::regclass::text,
           has_table_privilege(c.oid, 'SELECT') FROM pg_class c WHERE c.oid = %s
"""
_REFERENCES = "SELECT has_table_privilege(to_regclass(%s), 'REFERENCES')"


def rights_of(work: Work) -> list[Obstacle]:
    """Rights that the account lacks to change the tables as they are now."""
    names = [work.migration.sessions.name, *(one.name for one in work.layout.places)]
    tables = dict(zip(names, work.layout.tables, strict=True))
    return [one for one in missing_rights(work.connection, work.migration, tables) if one.blocks == APPLY]


def missing_rights(
    connection: psycopg.Connection, migration: Migration, tables: Mapping[str, Table]
) -> Iterator[Obstacle]:
    """Rights that the account lacks, each with the statement that grants it."""
    row = connection.execute(_ROLE).fetchone()
    assert row is not None
    role, makes_databases = row
    places = {one.name: tables[one.name] for one in migration.tables if one.name in tables}
    for schema in dict.fromkeys(one.schema for one in places.values()):
        found = connection.execute(_SCHEMA, [schema]).fetchone()
        if found is not None and not found[0]:
            yield Obstacle(
                f"schema {found[1]}", f"the account {role} lacks CREATE on it, so it can make no table and no index there",
                f"GRANT CREATE ON SCHEMA {found[1]} TO {role} ({PAGE})",
            )  # fmt: skip
    for name, table in tables.items():
        found = connection.execute(_OWNER, [table.oid]).fetchone()
        assert found is not None
        is_owner, owner, shown, may_read = found
        if name in places and not is_owner:
            yield Obstacle(
                f"table {shown}", f"it belongs to {owner}, and the account {role} is no member of it: only an owner may change a"
                " table", f"ALTER TABLE {shown} OWNER TO {role}, or use an account that is a member of {owner} ({PAGE})",
            )  # fmt: skip
        elif not may_read:
            yield Obstacle(
                f"table {shown}",
                f"the account {role} lacks SELECT on it",
                f"GRANT SELECT ON {shown} TO {role} ({PAGE})",
            )
    for one in migration.tables:
        for key in places[one.name].constraints_of(one.old) if one.name in places else ():
            if key.kind == "f" and key.target and connection.execute(_REFERENCES, [key.target]).fetchone() == (False,):
                yield Obstacle(
                    f"table {key.target}", f"the account {role} lacks REFERENCES on it, so the undo of contract could not make"
                    f" {key.name} again", f"GRANT REFERENCES ON {key.target} TO {role} ({PAGE})",
                )  # fmt: skip
    if not makes_databases:
        yield Obstacle(
            f"account {role}", "it lacks CREATEDB: the rehearsal restores a backup into a scratch database",
            f"ALTER ROLE {role} CREATEDB ({PAGE})", REHEARSAL,
        )  # fmt: skip
