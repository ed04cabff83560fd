"""Calls to a MongoDB server, for `silence`: what waits, over which connections, and whether the server works on it."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from pymongo import MongoClient
from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from session_assets.stores.silence import addresses, own_sockets

NAME = "session-assets"
_BOUNDS: dict[str, Any] = dict.fromkeys(("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS"), 5000)
_Key = tuple[str, int | None, int]
_MONITORS = {
    "command.hello": {"$exists": False},
    "command.isMaster": {"$exists": False},
    "command.ismaster": {"$exists": False},
}


def application_name() -> str:
    """How this process is called in the server's log and list of operations."""
    return f"{NAME} pid {os.getpid()} on {socket.gethostname()}"[:128]


def unsaid(uri: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options that a URI leaves open."""
    return {name: value for name, value in options.items() if name.lower() not in uri.lower()}


class MongoCalls(ConnectionPoolListener):
    """The connections of one client that are taken out of its pool: a call holds one until its answer is there."""

    def __init__(self, variable: str, uri: str, name: str, options: dict[str, Any]) -> None:
        self.variable = variable
        self._uri = uri
        self._name = name
        self._options = options
        self._out: dict[_Key, float] = {}

    def wait_since(self) -> float | None:
        return min(self._out.copy().values(), default=None)

    def sockets(self) -> list[int]:
        return own_sockets({one for host, port, _ in self._out.copy() for one in addresses(host, port or 27017)})

    def works(self) -> bool:
        options = {**self._options, **unsaid(self._uri, _BOUNDS), "appname": f"{NAME} silence"}
        with MongoClient[dict[str, Any]](self._uri, **options) as client:
            ours = {"appName": self._name, "active": True, **_MONITORS}
            local = {"localOps": True} if client.is_mongos else {}
            return bool(list(client.admin.aggregate([{"$currentOp": local}, {"$match": ours}, {"$limit": 1}])))

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        self._out[*event.address, event.connection_id] = time.monotonic()

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        self._out.pop((*event.address, event.connection_id), None)

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        self._out.pop((*event.address, event.connection_id), None)

    def pool_created(self, event: PoolCreatedEvent) -> None: ...

    def pool_ready(self, event: PoolReadyEvent) -> None: ...

    def pool_cleared(self, event: PoolClearedEvent) -> None: ...

    def pool_closed(self, event: PoolClosedEvent) -> None: ...

    def connection_created(self, event: ConnectionCreatedEvent) -> None: ...

    def connection_ready(self, event: ConnectionReadyEvent) -> None: ...

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None: ...

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None: ...
