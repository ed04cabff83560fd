"""A live writer beside apply and revert: every edit that it was told is done stands in the one document that is left.

It edits a session where it was until it finds it no longer there. Who edits both: see `test_cosmos_faults`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError

from session_assets.stores.cosmos import Container
from session_assets.stores.cosmos_account import Account
from session_assets.stores.cosmos_documents import Document
from session_assets.stores.cosmos_settings import AccountSettings
from session_assets_tests.changes.scenario import outcomes
from session_assets_tests.counts import times
from session_assets_tests.stores.cosmos_loop import CosmosLoop
from session_assets_tests.stores.cosmos_scenario import GUID, moves, put, session, sessions_of, stored

MANY = [session(number, beats=0) for number in range(60)]


class Heartbeats:
    """Edits random sessions on their ETag: under their e-mail while they stand there, else under their GUID, or the reverse."""

    def __init__(self, settings: dict[str, str], seed: int, *, guid_first: bool = False) -> None:
        self._order = -1 if guid_first else 1
        self._account = Account(AccountSettings.from_env(settings))
        self._sessions = Container(self._account, "user_sessions")
        self._chance = random.Random(seed)
        self._stopped = False
        self.done: Counter[str] = Counter()

    def __enter__(self) -> Heartbeats:
        self._running = self._account.start(self._run())
        return self

    def __exit__(self, *_details: object) -> None:
        self._stopped = True
        self._running.result(30)
        self._account.close()

    async def _run(self) -> None:
        while not self._stopped:
            await self._beat(self._chance.choice(MANY))
            await asyncio.sleep(0)

    async def _beat(self, one: Document) -> None:
        for user in (one["user_id"], GUID)[:: self._order]:
            try:
                partition = self._sessions.partition_value(one | {"user_id": user})
                found = await self._sessions.client.read_item(one["id"], partition_key=partition)
                edited = dict(found) | {"beats": found["beats"] + 1}
                await self._sessions.client.replace_item(
                    one["id"], edited, etag=found["_etag"], match_condition=MatchConditions.IfNotModified
                )
            except CosmosResourceNotFoundError:
                continue
            except CosmosHttpResponseError as error:
                assert error.status_code == 412
            else:
                self.done[one["id"]] += 1
            return


@pytest.mark.parametrize("path", ["/user_id", "/id"])
def test_no_edit_of_a_live_writer_is_lost(cosmos: dict[str, str], tmp_path: Path, path: str) -> None:
    sessions = sessions_of(cosmos, path)
    put(sessions, *MANY)
    loop = CosmosLoop.new(sessions, tmp_path, batch_size=20)  # type: ignore[arg-type]
    beats: Counter[str] = Counter()
    for seed in range(times(1, 10)):
        plan = loop.plan(moves(MANY))
        with Heartbeats(cosmos, seed) as writer:
            assert outcomes(loop.apply(plan)) == {"applied": len(MANY)}
        beats.update(writer.done)
        assert sum(writer.done.values()) > 0
        _each_once(sessions, beats)
        with Heartbeats(cosmos, seed, guid_first=True) as writer:
            assert outcomes(loop.revert(plan)) == {"applied": len(MANY)}
        beats.update(writer.done)
        assert sum(writer.done.values()) > 0
        _each_once(sessions, beats)


def _each_once(sessions: Container, beats: Counter[str]) -> None:
    found = stored(sessions)
    assert len(found) == len(MANY)
    assert {key: one["beats"] for (key, _), one in found.items()} == {one["id"]: beats[one["id"]] for one in MANY}
