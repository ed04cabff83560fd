"""The steps that `bench.identity` measures, each in a process of its own: `python -m bench.identity_steps NAME`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any

from azure.core import MatchConditions
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import CosmosResourceNotFoundError

from session_assets.changes.session import apply_plans
from session_assets.embedded.identity_sample import Document, sample
from session_assets.graph.environment import Environment
from session_assets.identity.assets import USER_SESSIONS
from session_assets.identity.model import CREATED, UPDATED
from session_assets.identity.pipeline import Identity
from session_assets.identity.repairs import change_rows
from session_assets.stores.cosmos import container, decode
from session_assets.stores.cosmos_account import account
from session_assets.stores.cosmos_changes import CosmosStore
from session_assets.stores.cosmos_containers import create_containers, drop_database

_BATCH = 100  # operations that a transactional batch takes
_PAGE = 1000


def plant() -> float:
    """A fresh database with BENCH_SESSIONS sample sessions: in batches, since one by one they would take minutes."""
    drop_database()
    create_containers()
    planted = sample(int(os.environ["BENCH_SESSIONS"]))
    for name, documents, key in (("user_sessions", planted.documents, "user_id"), ("auth", planted.auth, "id")):
        into = container(name)

        async def create(batch: tuple[str, list[Document]], into: Any = into) -> None:
            partition, some = batch
            await into.client.execute_item_batch([("create", (one,)) for one in some], partition_key=partition)

        loose = [one for one in documents if not isinstance(one.get(key), str)]
        into.account.each(into.client.create_item, loose)
        into.account.each(create, list(_batches([one for one in documents if isinstance(one.get(key), str)], key)))
    return 0.0


def raw_read() -> float:
    """The reference of a plan: the same documents, read in pages of the same size by the bare client, decoded and dropped."""

    async def read(client: CosmosClient) -> float:
        database = client.get_database_client(os.environ["COSMOS_DATABASE_NAME"])
        began = time.perf_counter()
        for name, query in (("user_sessions", "SELECT * FROM c"), ("auth", "SELECT c.id, c.email, c.type FROM c")):
            pages = database.get_container_client(name).query_items(query, max_item_count=_PAGE).by_page()
            async for page in pages:
                async for _ in page:
                    pass
        return time.perf_counter() - began

    return _bare(read)


def plan() -> float:
    """Read, facts, classes, and the plan, which `apply` and `raw_apply` write."""
    environment = Environment.load()
    identity = Identity.open(environment.settings, environment.storage)
    began = time.perf_counter()
    planned = identity.plan_now(
        USER_SESSIONS.loop.ledger(environment), identity.selection([], whole=True), change_rows, "bench"
    )
    seconds = time.perf_counter() - began
    assert not planned.failures, planned.failures
    return seconds


def apply() -> float:
    """Guarded, journaled moves of the newest plan."""
    ledger = USER_SESSIONS.loop.ledger(Environment.load())
    recording = next(ledger.recordings())
    store = CosmosStore(container("user_sessions"), UPDATED, CREATED)
    began = time.perf_counter()
    report = apply_plans(
        ledger, {recording.plan_id: list(recording.partitions)}, store, run_id="bench", batch_size=1000
    )
    seconds = time.perf_counter() - began
    assert report.totals().as_dict()["applied"] == sum(report.planned.values()), report.totals()
    usage = account().usage.as_dict()
    print(f"{usage['requests'] / sum(report.planned.values()):.2f} requests a document", file=sys.stderr)
    return seconds


def raw_apply() -> float:
    """The reference of apply: the same requests by the bare client, as many at once, neither compared nor journaled."""
    ledger = USER_SESSIONS.loop.ledger(Environment.load())
    recording = next(ledger.recordings())
    rows = [
        (decode(before)[0], decode(after)[0])
        for part in ledger.plan(recording.plan_id).parts
        for frame in ledger.rows(part)
        for before, after in frame.select("before", "after").iter_rows()
    ]

    async def write(client: CosmosClient) -> float:
        database = client.get_database_client(os.environ["COSMOS_DATABASE_NAME"])
        sessions = database.get_container_client("user_sessions")
        await sessions.read()
        left = iter(rows)

        async def worker() -> None:
            for before, after in left:
                await _move(sessions, before, after)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(account_concurrency())))
        return time.perf_counter() - began

    return _bare(write)


async def _move(sessions: ContainerProxy, before: Document, after: Document) -> None:
    """The requests of a move: look at source and target, read again, create, read back, delete."""
    key, old, new = before["id"], before["user_id"], after["user_id"]
    await sessions.read_item(key, partition_key=old)
    with suppress(CosmosResourceNotFoundError):
        await sessions.read_item(key, partition_key=new)
    found = await sessions.read_item(key, partition_key=old)
    await sessions.create_item(after)
    await sessions.read_item(key, partition_key=new)
    await sessions.delete_item(
        key, partition_key=old, etag=found["_etag"], match_condition=MatchConditions.IfNotModified
    )


def account_concurrency() -> int:
    return account().settings.concurrency


def _bare(work: Callable[[CosmosClient], Any]) -> float:
    async def run() -> float:
        endpoint, key = os.environ["AZURE_COSMOS_ENDPOINT"], os.environ["AZURE_COSMOS_KEY"]
        async with CosmosClient(endpoint, key, enable_endpoint_discovery=False) as client:
            return await work(client)

    return asyncio.run(run())


def _batches(documents: list[Document], key: str) -> Iterator[tuple[str, list[Document]]]:
    for partition, group in groupby(sorted(documents, key=lambda one: one[key]), lambda one: one[key]):
        some = list(group)
        for start in range(0, len(some), _BATCH):
            yield partition, some[start : start + _BATCH]


STEPS: dict[str, Callable[[], float]] = {one.__name__: one for one in (plant, raw_read, plan, apply, raw_apply)}

if __name__ == "__main__":
    print(json.dumps({"seconds": STEPS[sys.argv[1]]()}))
