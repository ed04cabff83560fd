"""Makes the containers of the identity slice and fills them: for tests, the demo and the benchmark. Nothing else calls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from azure.core.exceptions import AzureError
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import CosmosResourceNotFoundError

from session_assets.stores.cosmos import Container
from session_assets.stores.cosmos_account import Account, account, unavailable

_CHUNK = 5000


def create_containers(env: Mapping[str, str] | None = None, *, sessions_path: str = "/user_id") -> None:
    """The database, `user_sessions` partitioned by a path, and `auth`; what is there stays as it is."""
    used = account(env)
    used.run(_create(used, sessions_path))


def write_all(into: Container, documents: Iterable[Mapping[str, Any]]) -> None:
    """Upsert documents."""

    async def upsert(document: Mapping[str, Any]) -> None:
        await into.client.upsert_item(dict(document))

    source = iter(documents)
    while chunk := list(islice(source, _CHUNK)):
        into.account.each(upsert, chunk)


def drop_database(env: Mapping[str, str] | None = None) -> None:
    """Delete the database with all that it holds, where there is one."""
    used = account(env)
    used.run(_drop(used))


async def _drop(used: Account) -> None:
    with suppress(CosmosResourceNotFoundError):
        await used.client.delete_database(used.settings.database)


async def _create(used: Account, sessions_path: str) -> None:
    prefix = used.settings.prefix
    try:
        database = await used.client.create_database_if_not_exists(used.settings.database)
        await database.create_container_if_not_exists(f"{prefix}user_sessions", PartitionKey(sessions_path))
        unique: Any = {"uniqueKeys": [{"paths": ["/email"]}]}
        await database.create_container_if_not_exists(f"{prefix}auth", PartitionKey("/id"), unique_key_policy=unique)
    except AzureError as error:
        raise unavailable(error) from error
