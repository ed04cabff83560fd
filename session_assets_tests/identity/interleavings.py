"""An application that writes between any two requests of ours, and may end our process before one."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from azure.core import MatchConditions
from azure.cosmos.exceptions import CosmosHttpResponseError

from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, Document
from session_assets_tests.stores.cosmos_faults import WRITES

_TAGS = "endpoints_accessed"


class Died(BaseException):
    """What a killed process does from then on: nothing."""


class Application:
    """Edits sessions as it knows them, under either key, and makes them afresh under their e-mail.

    `said` is, for each id, what it was told is stored.
    """

    def __init__(self, stored: Cosmos, documents: list[Document], seed: int) -> None:
        self._sessions = stored.sessions
        self._documents = {one["id"]: one for one in documents}
        self.said: dict[str, set[str]] = {document_id: set() for document_id in self._documents}
        self.chance = Random(seed)
        self.writes, self.kills = 0.4, 0.06
        self.has_killed = False

    async def before(self, operation: str, document_id: str) -> None:
        """Just before a request of ours."""
        if self.has_killed:
            raise Died
        if document_id in self._documents and self.chance.random() < self.writes:
            await asyncio.wrap_future(self._sessions.account.start(self._act(document_id)))
        if operation in WRITES and self.chance.random() < self.kills:
            self.has_killed = True
            raise Died

    async def _act(self, document_id: str) -> None:
        tag = f"/{self.chance.randrange(10**9)}"
        try:
            await self._write(document_id, self.chance.choice((EMAIL, EMAIL, GUID)), tag)
        except CosmosHttpResponseError as error:  # not there, or we were first
            if error.status_code not in (404, 409, 412):
                raise
        else:
            self.said[document_id].add(tag)

    async def _write(self, document_id: str, user_id: str, tag: str) -> None:
        client: Any = self._sessions.client
        if user_id == EMAIL and self.chance.random() < 0.3:
            born = f"2025-09-01T00:00:00.{self.chance.randrange(10**6):06d}+00:00"
            await client.create_item({**self._documents[document_id], "created_at": born, _TAGS: [tag]})
            return
        found = dict(await client.read_item(document_id, partition_key=user_id))
        edited = {**found, _TAGS: [*found[_TAGS], tag]}
        await client.replace_item(
            document_id, edited, etag=found["_etag"], match_condition=MatchConditions.IfNotModified
        )
