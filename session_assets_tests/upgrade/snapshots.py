"""What the stores hold, read by plain drivers: nothing of either tree says whether it worked."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pymongo
from azure.cosmos import CosmosClient
from bson.raw_bson import RawBSONDocument

Rows = list[str]
_OURS = r"session\_assets\_%"
_SYSTEM = ("_rid", "_self", "_etag", "_attachments", "_ts")
_TABLES = """
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND c.relname NOT LIKE %(ours)s ORDER BY 1
"""
_CATALOGUE = """
    SELECT concat_ws(' ', 'column', table_name, column_name, udt_name, character_maximum_length, is_nullable, column_default,
                     is_identity, col_description((quote_ident(table_name))::regclass, ordinal_position))
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE %(ours)s
    UNION ALL SELECT concat_ws(' ', 'index', indexdef) FROM pg_indexes
    WHERE schemaname = 'public' AND tablename NOT LIKE %(ours)s
    UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE %(ours)s
    UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT concat_ws(' ', 'function', oid::regprocedure) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', 'relation', relkind, relname) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S') AND relname NOT LIKE %(ours)s
    ORDER BY 1
"""


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


# -- MongoDB -----------------------------------------------------------------------------------------------------------


def collections(uri: str) -> dict[str, dict[str, bytes]]:
    """By collection the raw bytes of each document, by its `_id`; and the indexes of each."""
    found: dict[str, dict[str, bytes]] = {}
    with pymongo.MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument) as client:
        database = client.get_default_database()
        for name in sorted(database.list_collection_names()):
            found[name] = {repr(one["_id"]): bytes(one.raw) for one in database[name].find()}
            found[f"{name} indexes"] = {one["name"]: repr(one).encode() for one in database[name].list_indexes()}
    return found


def copy(source: str, target: str) -> None:
    """The documents of one database into another one, which is empty."""
    with pymongo.MongoClient[RawBSONDocument](source, document_class=RawBSONDocument) as client:
        one, other = (client[urlsplit(uri).path.strip("/")] for uri in (source, target))
        for name in one.list_collection_names():
            other[name].insert_many(one[name].find())


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def rows(url: str, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def tables(url: str) -> dict[str, Rows]:
    """All rows of all tables but those that keep our records, as text; columns in any order."""
    names = [name for (name,) in rows(url, _TABLES, {"ours": _OURS})]
    return {
        name: [text for (text,) in rows(url, f'SELECT to_jsonb(t)::text FROM "{name}" t ORDER BY 1')] for name in names
    }


def catalogue(url: str) -> Rows:
    """Columns, indexes, constraints, triggers, functions and relations, but for those that keep our records."""
    return [text for (text,) in rows(url, _CATALOGUE, {"ours": _OURS})]


# -- Cosmos DB ---------------------------------------------------------------------------------------------------------


def documents(variables: dict[str, str], database: str, container: str) -> dict[str, str]:
    """The JSON text of each document without what the server adds, by partition value and id; fields in their order."""
    client = CosmosClient(
        variables["AZURE_COSMOS_ENDPOINT"], variables["AZURE_COSMOS_KEY"], enable_endpoint_discovery=False
    )
    found: dict[str, str] = {}
    opened = client.get_database_client(database).get_container_client(container)
    for one in opened.query_items("SELECT * FROM c", enable_cross_partition_query=True):
        plain = {name: value for name, value in one.items() if name not in _SYSTEM}
        found[f"{one.get('user_id')!r} {one['id']}"] = json.dumps(plain)
    return found
