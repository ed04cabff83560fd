"""The HTTP transport under the Cosmos DB client: waits where the store says so, repeats reads, and counts both.

What the SDK would do itself is not enough: it repeats a write whose connection broke, though it may have been done, and tells
nobody how often it was throttled. Here a throttled request (429: not done) waits as long as the answer says, a read goes again
after any passing error, and a write goes out once.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport

from session_assets.io_calls import CallFailed, io_call

_PATIENCE = 120.0  # seconds that one request waits in all because of throttling
_READS, _FIRST_PAUSE, _LONGEST_PAUSE = 7, 0.05, 3.0
_READING = 60.0  # seconds after which a read does not go again: each try may take half a minute without a byte
_HURRY = 30.0  # seconds after such a read in which nothing is sent: a command needs many, and would wait for each
_PASSING = {408, 410, 449, 500, 502, 503, 504}
_QUERY = "x-ms-documentdb-isquery"
_PLAN = "x-ms-cosmos-is-query-plan-request"


@dataclass
class Usage:
    """What requests cost so far. Counts are of answers, `waited` is seconds for throttling and for the budget."""

    requests: int = 0
    request_units: float = 0.0
    throttled: int = 0  # 429
    retried: int = 0  # reads that went again
    conflicts: int = 0  # 409, 412 and 449 of writes: somebody else was first
    unsure: int = 0  # writes without a usable answer, read back
    waited: float = 0.0

    def since(self, earlier: Usage) -> Usage:
        """The difference to an earlier copy."""
        return Usage(**{one.name: getattr(self, one.name) - getattr(earlier, one.name) for one in fields(self)})

    def copy(self) -> Usage:
        return Usage(**asdict(self))

    def as_dict(self) -> dict[str, int | float]:
        return {name: round(value, 1) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Budget:
    """Request units a second, as a bucket that holds those of one second; what a request costs is known only afterwards."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._level = per_second
        self._at = time.monotonic()

    async def wait(self) -> float:
        """Wait until something is left; returns the seconds waited."""
        if not self._per_second:
            return 0.0
        began = time.monotonic()
        while True:
            now = time.monotonic()
            self._level = min(self._per_second, self._level + (now - self._at) * self._per_second)
            self._at = now
            if self._level > 0:
                return now - began
            await asyncio.sleep(0.001 - self._level / self._per_second)

    def spend(self, units: float) -> None:
        self._level -= units


class Transport(AsyncHttpTransport[Any, Any]):
    """Sends requests through another transport, aiohttp's where none is given."""

    def __init__(self, budget: Budget, usage: Usage, inner: AsyncHttpTransport[Any, Any] | None = None) -> None:
        self._budget = budget
        self._usage = usage
        self._inner = inner or AioHttpTransport()
        self._silent_until = 0.0

    async def __aenter__(self) -> Transport:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._inner.__aexit__(*details)

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def send(self, request: Any, **options: Any) -> Any:
        """Send once, or as often as it takes; the last answer or error is what the SDK sees."""
        reads = request.method == "GET" or _QUERY in request.headers or _PLAN in request.headers
        pauses = (min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE) for number in range(_READS - 1))
        patience, began = _PATIENCE, time.monotonic()
        if began < self._silent_until:
            raise ServiceResponseError("the store was silent a moment ago")
        while True:
            self._usage.waited += await self._budget.wait()
            try:
                response = await self._sent(request, **options)
            except (ServiceRequestError, ServiceResponseError):
                self._usage.requests += 1
                now = time.monotonic()
                is_over = now - began >= _READING
                if reads and is_over:
                    self._silent_until = now + _HURRY
                pause = next(pauses, None) if reads and not is_over else None
                if pause is None:
                    raise
                self._usage.retried += 1
                await asyncio.sleep(pause)
                continue
            self._count(response)
            self._silent_until = 0.0
            if response.status_code == 429 and patience > 0:
                wait = _retry_after(response)
                patience -= wait
                self._usage.waited += wait
                await asyncio.sleep(wait)
            elif reads and response.status_code in _PASSING and (pause := next(pauses, None)) is not None:
                self._usage.retried += 1
                await asyncio.sleep(pause)
            else:
                if not reads and response.status_code in (409, 412, 449):
                    self._usage.conflicts += 1
                return response

    async def _sent(self, request: Any, **options: Any) -> Any:
        try:
            with io_call("cosmos", request.method, "query" if _QUERY in request.headers else ""):
                return await self._inner.send(request, **options)
        except CallFailed as failed:
            lost = failed.mode in ("lost", "timeout")
            raise (ServiceResponseError if lost else ServiceRequestError)(str(failed), error=failed) from failed

    def _count(self, response: Any) -> None:
        self._usage.requests += 1
        self._usage.throttled += response.status_code == 429
        units = float(response.headers.get("x-ms-request-charge") or 0)
        self._usage.request_units += units
        self._budget.spend(units)


def _retry_after(response: Any) -> float:
    """Seconds, as the answer says; those who were turned away together do not come back together."""
    told = response.headers.get("x-ms-retry-after-ms")
    return max(float(told) / 1000 if told else 0.1, 0.001) * random.uniform(1.0, 1.25)
