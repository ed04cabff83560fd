"""The connection to a Cosmos DB account: one client and one event loop a process, used from any thread."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.cosmos.aio import CosmosClient
from azure.cosmos.documents import ConnectionPolicy
from azure.cosmos.exceptions import CosmosHttpResponseError

from session_assets.errors import StoreUnavailable, UsageError
from session_assets.masking import one_line
from session_assets.stores.cosmos_settings import KEY, REQUEST_UNITS, VARIABLE, AccountSettings
from session_assets.stores.cosmos_transport import Budget, Transport, Usage

_CONNECT_SECONDS, _READ_SECONDS, _CLOSE_SECONDS = 5, 30, 5
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_accounts: dict[tuple[int, AccountSettings], Account] = {}
_opening = threading.Lock()


class Account:
    """A client on an event loop in a thread of its own. Methods may be called from any thread but that one."""

    def __init__(self, settings: AccountSettings, inner: AsyncHttpTransport[Any, Any] | None = None) -> None:
        """Connect. `inner` is what requests are sent through in the end; aiohttp where it is None."""
        self.settings = settings
        self.usage = Usage()
        self._inner = inner
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cosmos", daemon=True)
        self._thread.start()
        try:
            self.run(self._open())
        except BaseException:
            self.close()
            raise

    async def _open(self) -> None:
        settings = self.settings
        self.slots = asyncio.Semaphore(settings.concurrency)
        policy = ConnectionPolicy()
        policy.RetryOptions._max_retry_attempt_count = 0  # `retry_total=0` counts as not said; see cosmos_transport
        try:
            self._credential = settings.key or _entra()
            self.client = CosmosClient(
                settings.endpoint,
                self._credential,
                transport=Transport(Budget(settings.request_units), self.usage, self._inner),
                connection_policy=policy,
                connection_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                connection_verify=settings.verify_tls,
                enable_endpoint_discovery=not settings.is_plain,
                retry_connect=0,
                retry_read=0,
                user_agent_suffix="session-assets",
            )
            await self.client.__aenter__()
        except (AzureError, OSError) as error:
            raise unavailable(error) from error
        except (ValueError, TypeError) as error:  # its text would show the key
            raise UsageError(f"{KEY} is not the key of a Cosmos DB account. Correct it and try again.") from error

    @property
    def database(self) -> Any:
        return self.client.get_database_client(self.settings.database)

    def start(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        """Begin work on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do work on the loop and wait for it."""
        return self.start(work).result()

    def each(self, work: Callable[[_Item], Awaitable[_Result]], items: Sequence[_Item]) -> list[_Result]:
        """Work on all items, as many at once as all callers together may have; the first error stops what is not begun."""
        return self.run(self._each(work, items))

    async def _each(self, work: Callable[[_Item], Awaitable[_Result]], items: Sequence[_Item]) -> list[_Result]:
        results: dict[int, _Result] = {}
        places = iter(range(len(items)))
        errors: list[BaseException] = []

        async def worker() -> None:
            for place in places:
                async with self.slots:
                    if errors:
                        return
                    try:
                        results[place] = await work(items[place])
                    except BaseException as error:
                        errors.append(error)
                        raise

        workers = (worker() for _ in range(min(self.settings.concurrency, len(items))))
        await asyncio.gather(*workers, return_exceptions=True)  # what is under way ends first
        if errors:
            raise errors[0]
        return [results[place] for place in range(len(items))]

    def close(self) -> None:
        """Close connections and end the loop's thread."""

        async def closing() -> None:
            for one in (getattr(self, "client", None), getattr(self, "_credential", None)):
                if one is not None and not isinstance(one, str):
                    await one.close()

        with suppress(Exception):  # at the end of the process, whatever state the connections are in
            self.start(closing()).result(_CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


def account(env: Mapping[str, str] | None = None) -> Account:
    """The account that the settings name, reachable; kept per process, since a client does not survive a fork."""
    settings = AccountSettings.from_env(env)
    with _opening:
        known = _accounts.get((os.getpid(), settings))
        if known is None:
            known = _accounts[os.getpid(), settings] = Account(settings)
            atexit.register(known.close)
        return known


def disconnect(env: Mapping[str, str] | None = None) -> None:
    """Close the connections to the account that the settings name; it can be asked for again."""
    with _opening:
        known = _accounts.pop((os.getpid(), AccountSettings.from_env(env)), None)
    if known is not None:
        atexit.unregister(known.close)
        known.close()


def unavailable(error: Exception) -> Exception:
    """A driver's error as one that names the store and the variable, never a value."""
    if isinstance(error, CosmosHttpResponseError):
        if error.status_code in (401, 403):
            return StoreUnavailable("Cosmos DB", KEY, f"it refuses the credentials or the right ({error.status_code})")
        if error.status_code == 429:
            return StoreUnavailable(
                "Cosmos DB", REQUEST_UNITS, "it throttles for minutes; ask for less a second, or raise its throughput"
            )
        return StoreUnavailable("Cosmos DB", VARIABLE, f"it answers {error.status_code}")
    if isinstance(error, ClientAuthenticationError):
        return StoreUnavailable("Cosmos DB", KEY, f"no log-in through Entra ID: {one_line(error)}")
    if isinstance(error, ServiceRequestError):
        return StoreUnavailable("Cosmos DB", VARIABLE, "no connection can be made")
    return StoreUnavailable("Cosmos DB", VARIABLE, f"no answer ({type(error).__name__})")


def _entra() -> Any:
    """Environment, workload or managed identity, or the log-in of `az`: as azure-identity finds them."""
    try:
        from azure.identity.aio import DefaultAzureCredential
    except ImportError:
        raise UsageError(
            f"{KEY} is not set, and logging in through Entra ID needs a package: pip install 'session-assets[entra]'."
        ) from None
    return DefaultAzureCredential()
