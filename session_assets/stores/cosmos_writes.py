"""Single writes to a container of Cosmos DB, each telling one of four things: done, somebody was first, unsure, refused."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum, auto
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.cosmos.exceptions import CosmosHttpResponseError

from session_assets.stores.cosmos import Container, partition_key
from session_assets.stores.cosmos_account import unavailable
from session_assets.stores.cosmos_documents import Document

_FIRST = {404, 409, 412, 449}
_REFUSED = {400: "as no valid document", 413: "as too large: documents have at most 2 MB"}


class Answer(Enum):
    """What is known after a write. After all but `DONE` the documents are to be read again."""

    DONE = auto()
    FIRST = auto()  # the document is not as it was when it was read
    UNSURE = auto()  # no usable answer: it may be done


class Refused(Exception):
    """The store takes no such document, however often it is asked."""


class Writes:
    """Writes on the loop of the account. Raises `Refused` and `StoreUnavailable`."""

    def __init__(self, container: Container) -> None:
        self._client = container.client
        self._usage = container.usage

    async def create(self, document: Document) -> Answer:
        return await self._answer(self._client.create_item(document))

    async def replace(self, document: Document, etag: str) -> Answer:
        """Replace a document that still has this ETag."""
        change = self._client.replace_item(
            document["id"], document, etag=etag, match_condition=MatchConditions.IfNotModified
        )
        return await self._answer(change)

    async def delete(self, document_id: str, partition: Any, etag: str) -> Answer:
        """Delete a document that still has this ETag."""
        change = self._client.delete_item(
            document_id,
            partition_key=partition_key(partition),
            etag=etag,
            match_condition=MatchConditions.IfNotModified,
        )
        return await self._answer(change)

    async def _answer(self, change: Awaitable[Any]) -> Answer:
        try:
            await change
        except CosmosHttpResponseError as error:
            if error.status_code in _FIRST and not (error.status_code == 404 and error.sub_status):
                return Answer.FIRST
            if error.status_code in _REFUSED:
                raise Refused(f"Cosmos DB refuses it {_REFUSED[error.status_code]}") from error
            if error.status_code in (401, 403, 429):
                raise unavailable(error) from error
        except AzureError:
            pass  # told by reading it back
        else:
            return Answer.DONE
        self._usage.unsure += 1
        return Answer.UNSURE
