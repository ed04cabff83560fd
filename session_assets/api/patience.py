"""How long a request may keep the server reading a file: until a deadline, and as long as its caller waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from session_assets.drops.stopping import stopped_by


@asynccontextmanager
async def awaited(request: Request, deadline: float, seconds: float) -> AsyncIterator[None]:
    """Files that are read in the block are read until a deadline, and as long as the caller is there."""
    is_gone = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        is_gone.set()

    def check() -> None:
        if is_gone.is_set():
            raise ClientDisconnect
        if time.monotonic() > deadline:
            raise too_long(seconds)

    watcher = asyncio.create_task(watch())
    try:
        with stopped_by(check):
            yield
    finally:
        watcher.cancel()


def too_long(seconds: float) -> HTTPException:
    return HTTPException(
        408,
        f"The upload and the validation of the file took longer than {seconds:g} seconds. Nothing was imported. Import it from a"
        " terminal or the drop folder, or raise SESSION_ASSETS_API_REQUEST_SECONDS.",
    )
