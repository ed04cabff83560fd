"""Containers of Cosmos DB: how they are partitioned, documents in pages, single documents. Reads only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError
from azure.cosmos.partition_key import NonePartitionKeyValue, NullPartitionKeyValue

from session_assets.changes.target import StoreTarget
from session_assets.errors import UsageError
from session_assets.stores.cosmos_account import Account, account, unavailable
from session_assets.stores.cosmos_documents import (
    SYSTEM_FIELDS,
    UNDEFINED,
    Document,
    decode,
    encode,
    partition_value,
    plain,
    same,
)
from session_assets.stores.cosmos_settings import DATABASE, PREFIX, VARIABLE
from session_assets.stores.cosmos_transport import Usage

__all__ = ["SYSTEM_FIELDS", "VARIABLE", "Container", "Usage", "container", "decode", "encode", "plain", "same"]

_PAGE = 1000  # documents
_USER_ID = "/user_id"


class Container:
    """One container. Methods may be called from any thread."""

    def __init__(self, account: Account, name: str) -> None:
        """Looks at how the container is partitioned; raises `UsageError` where it is not there."""
        self.account = account
        self.name = account.settings.prefix + name
        self.client = account.database.get_container_client(self.name)
        properties = account.run(self._properties())
        self.rid: str | None = properties.get("_rid")
        self.partition_paths: tuple[str, ...] = tuple(properties["partitionKey"]["paths"])
        if len(self.partition_paths) > 1 and _USER_ID in self.partition_paths:
            raise UsageError(
                f"container {self.name} has a hierarchical partition key that contains {_USER_ID}: documents of such a"
                " container are not moved. Only a key of one path is supported there."
            )

    @property
    def moves(self) -> bool:
        """Whether another `user_id` means another partition."""
        return self.partition_paths == (_USER_ID,)

    @property
    def usage(self) -> Usage:
        """What all requests of the account cost so far."""
        return self.account.usage

    def partition_value(self, document: Mapping[str, Any]) -> Any:
        """Where a document stands: the value at the path, `UNDEFINED` where there is none; a list of them for several paths."""
        values = [partition_value(document, path) for path in self.partition_paths]
        return values if len(values) > 1 else values[0]

    def pages(self, query: str, parameters: Sequence[dict[str, Any]] = ()) -> Iterator[list[Document]]:
        """The results of a query over all partitions, with system fields, a page at a time; the next one is on its way."""
        pages = self._pages(query, parameters)
        coming = self.account.start(_next(pages))
        try:
            while (page := coming.result()) is not None:
                coming = self.account.start(_next(pages))
                if page:
                    yield page
        finally:
            coming.cancel()
            with suppress(RuntimeError):  # a page is still on its way: its generator ends with it
                self.account.run(pages.aclose())

    def count(self, query: str = "SELECT VALUE COUNT(1) FROM c", parameters: Sequence[dict[str, Any]] = ()) -> int:
        """The number that a query gives; of several partitions, their sum."""
        return sum(sum(page) for page in self.pages(query, parameters))  # type: ignore[arg-type]

    def read(self, document_id: str, partition: Any) -> Document | None:
        """A document with system fields, or None where there is none."""
        return self.account.run(self.get(document_id, partition))

    async def get(self, document_id: str, partition: Any) -> Document | None:
        """As `read`, on the loop. Only an answer that says so counts as absence."""
        try:
            return dict(await self.client.read_item(document_id, partition_key=partition_key(partition)))
        except CosmosResourceNotFoundError as error:
            if error.sub_status:  # 1002: the replica is behind; 1003: the container is gone
                raise unavailable(error) from error
            return None
        except AzureError as error:
            raise unavailable(error) from error

    async def _properties(self) -> dict[str, Any]:
        try:
            return await self.client.read()
        except CosmosResourceNotFoundError as error:
            raise UsageError(
                f"container {self.name} is not in the database that {DATABASE} names. Look at {DATABASE} and {PREFIX}."
            ) from error
        except AzureError as error:
            raise unavailable(error) from error

    async def _pages(self, query: str, parameters: Sequence[dict[str, Any]]) -> AsyncGenerator[list[Document], None]:
        found = self.client.query_items(query, parameters=list(parameters), max_item_count=_PAGE)
        try:
            async for page in found.by_page():
                yield [one async for one in page]
        except CosmosHttpResponseError as error:
            if error.status_code == 400:
                raise
            raise unavailable(error) from error
        except AzureError as error:
            raise unavailable(error) from error


def container(name: str, env: Mapping[str, str] | None = None) -> Container:
    """A container by its name without the prefix. Raises `NotConfigured`, `UsageError`, `StoreUnavailable`."""
    return Container(account(env), name)


def cosmos_target(name: str, env: Mapping[str, str] | None = None) -> StoreTarget:
    """A container as the account names it (E2): endpoint, database, and the `_rid` of the container."""
    found = container(name, env)
    settings = found.account.settings
    parts = urlsplit(settings.endpoint)
    address = f"{parts.hostname}:{parts.port or 443}"
    return StoreTarget("cosmos", address, (address,), settings.database, found.name, found.rid, old_name=settings.name)


def partition_key(value: Any) -> Any:
    """A partition value as the driver has it."""
    if value is UNDEFINED:
        return NonePartitionKeyValue
    return NullPartitionKeyValue if value is None else value


async def _next(pages: AsyncGenerator[list[Document], None]) -> list[Document] | None:
    return await anext(pages, None)
