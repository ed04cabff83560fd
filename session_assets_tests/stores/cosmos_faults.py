"""What the emulator does not do, done at the transport: throttling, "retry with", timeouts, lost replies, edits in between.

Requests go to the real emulator through aiohttp; some are turned away before it, the answers of some are lost after it.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpResponse, AsyncHttpTransport
from azure.core.utils import CaseInsensitiveDict

from session_assets.stores import cosmos_account
from session_assets.stores.cosmos_account import Account
from session_assets.stores.cosmos_settings import AccountSettings

CREATE, REPLACE, DELETE, READ, QUERY = "create", "replace", "delete", "read", "query"
WRITES = {CREATE, REPLACE, DELETE}


class Answered(AsyncHttpResponse):
    """An answer that no server gave."""

    def __init__(self, request: Any, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(request, None)
        self.status_code = status
        self.reason = str(status)
        self.headers = CaseInsensitiveDict({"x-ms-request-charge": "0", **(headers or {})})
        self.content_type = "application/json"

    def body(self) -> bytes:
        return json.dumps({"code": str(self.status_code), "message": "fault"}).encode()


@dataclass
class Faults:
    """Shares of requests, 0…1, that fail: `lost` and `timeouts` of writes may be done or not, `lost` of reads too."""

    throttled: float = 0.0  # 429
    retry_with: float = 0.0  # 449, of writes
    timeouts: float = 0.0  # 408
    lost: float = 0.0  # the connection breaks
    unavailable: float = 0.0  # 503, not done
    forgotten: int = 0  # so many creates and replaces are said to be done and are not
    retry_after_ms: int = 2
    seed: int = 1
    before: Callable[[str, str], Awaitable[None]] | None = None
    """Called with the operation and the document's id just before a request to a document goes out."""
    seen: Counter[str] = field(default_factory=Counter[str])
    done: Counter[str] = field(default_factory=Counter[str])
    """Writes that the server did, by operation."""


class FaultyTransport(AsyncHttpTransport[Any, Any]):
    """aiohttp's transport with faults."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._chance = random.Random(faults.seed)
        self._inner = AioHttpTransport()

    async def __aenter__(self) -> FaultyTransport:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._inner.__aexit__(*details)

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def send(self, request: Any, **options: Any) -> Any:
        operation, document_id = _operation(request)
        if operation is None:
            return await self._inner.send(request, **options)
        if self._faults.before is not None:
            await self._faults.before(operation, document_id)
        if operation in (CREATE, REPLACE) and self._faults.forgotten:
            self._faults.forgotten -= 1
            return Answered(request, 201)
        fault = self._drawn(operation)
        if fault is not None:
            self._faults.seen[fault] += 1
        match fault:
            case "throttled":
                return Answered(request, 429, {"x-ms-retry-after-ms": str(self._faults.retry_after_ms)})
            case "retry_with":
                return Answered(request, 449)
            case "unavailable":
                return Answered(request, 503)
            case "timeouts" | "lost":
                if self._chance.random() < 0.7:
                    await self._sent(operation, request, options)
                if fault == "timeouts":
                    return Answered(request, 408)
                raise ServiceResponseError("the connection was closed")
        return await self._sent(operation, request, options)

    async def _sent(self, operation: str, request: Any, options: dict[str, Any]) -> Any:
        response = await self._inner.send(request, **options)
        if operation in WRITES and response.status_code < 300:
            self._faults.done[operation] += 1
        return response

    def _drawn(self, operation: str) -> str | None:
        drawn = self._chance.random()
        for name in ("throttled", "retry_with", "timeouts", "lost", "unavailable"):
            share = 0.0 if name == "retry_with" and operation not in WRITES else getattr(self._faults, name)
            if drawn < share:
                return name
            drawn -= share
        return None


@contextmanager
def faulty(settings: Mapping[str, str], faults: Faults) -> Iterator[Account]:
    """Within the block, whoever asks for the account of these settings gets one with faults."""
    key = (os.getpid(), AccountSettings.from_env(settings))
    sound = cosmos_account._accounts.pop(key, None)
    account = Account(key[1], FaultyTransport(faults))
    cosmos_account._accounts[key] = account
    try:
        yield account
    finally:
        account.close()
        cosmos_account._accounts.pop(key)
        if sound is not None:
            cosmos_account._accounts[key] = sound


def _operation(request: Any) -> tuple[str | None, str]:
    """The operation on documents that a request is, and the id of the document where it tells one."""
    _, found, rest = request.url.partition("/docs")
    if not found:
        return None, ""
    document_id = rest.strip("/").split("?")[0]
    match request.method:
        case "GET":
            return READ, document_id
        case "PUT":
            return REPLACE, document_id
        case "DELETE":
            return DELETE, document_id
        case "POST" if "x-ms-documentdb-isquery" in request.headers:
            return QUERY, ""
        case "POST" if "x-ms-cosmos-is-query-plan-request" in request.headers:
            return None, ""
    body = request.data if isinstance(request.data, str | bytes) else "{}"
    return CREATE, json.loads(body).get("id", "")
