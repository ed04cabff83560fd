"""Variables of an empty database for a slice, dropped after the test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import psycopg
import pymongo
from psycopg import sql

from session_assets.stores.cosmos_account import disconnect
from session_assets.stores.cosmos_containers import drop_database
from session_assets.stores.cosmos_settings import DATABASE
from session_assets_tests.conftest import with_database
from session_assets_tests.slices.worlds import Variables

SERVERS = {"web": "mongodb", "contest": "mongodb", "identity": "cosmos", "kintell": "postgresql", "flow": "postgresql"}
Shared = Callable[[str], Any]
"""Gives the fixture of a name."""


def fresh_variables(slice_: str, shared: Shared, ends: ExitStack, own: Mapping[str, str] | None = None) -> Variables:
    """The first is the address of the server: `own`, or that of all tests."""
    name = f"test_{secrets.token_hex(6)}"
    if slice_ == "identity":
        server: Variables = shared("cosmos_server")
        variables = {**{one: (own or server)[one] for one in server}, DATABASE: name}
        ends.callback(disconnect, variables)
        ends.callback(drop_database, variables)
        return variables
    if SERVERS[slice_] == "postgresql":
        url = own["FLOW_DATABASE_URL"] if own else shared("postgres_server")
        _on(url, "CREATE DATABASE {}", name)
        ends.callback(_on, url, "DROP DATABASE {} WITH (FORCE)", name)
        return {f"{slice_.upper()}_DATABASE_URL": with_database(url, name)}
    uri = own["WEB_MONGO_URI"] if own else shared("mongo_server")
    ends.callback(_drop, uri, name)
    return {f"{slice_.upper()}_MONGO_URI": with_database(uri, name)}


def _on(server: str, statement: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]


def _drop(uri: str, name: str) -> None:
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        client.drop_database(name)
