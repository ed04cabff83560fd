"""A JetStream stream for tests: made anew for each, with the shortest window of duplicates, and read as a whole."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats
from nats.js import api

from session_assets.kintell.outbox import SUBJECTS

WINDOW_SECONDS = 0.1


def fresh_stream(url: str, *, name: str = "KINTELL", window: float = WINDOW_SECONDS) -> None:
    """Drop all streams of our subjects and make an empty one."""

    async def make() -> None:
        client = await nats.connect(url)
        js = client.jetstream()
        for one in await js.streams_info():
            await js.delete_stream(one.config.name or "")
        await js.add_stream(
            api.StreamConfig(name=name, subjects=sorted(set(SUBJECTS.values())), duplicate_window=window)
        )
        await client.close()

    asyncio.run(make())


def no_stream(url: str) -> None:
    async def drop() -> None:
        client = await nats.connect(url)
        js = client.jetstream()
        for one in await js.streams_info():
            await js.delete_stream(one.config.name or "")
        await client.close()

    asyncio.run(drop())


def messages(url: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Message id, subject and envelope of everything in the stream, in its order."""

    async def read() -> list[tuple[str, str, dict[str, Any]]]:
        client = await nats.connect(url)
        js = client.jetstream()
        name = await js.find_stream_name_by_subject(SUBJECTS["completed"])
        last = (await js.stream_info(name)).state.last_seq
        found = []
        for sequence in range(1, last + 1):
            one = await js.get_msg(name, sequence)
            found.append(((one.headers or {}).get("Nats-Msg-Id", ""), one.subject or "", json.loads(one.data or b"{}")))
        await client.close()
        return found

    return asyncio.run(read())
