"""MongoDB as a replica set of one, so that transactions and change streams work as they do in production."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from session_assets.durable import own_folder
from session_assets.embedded import binaries
from session_assets.embedded.ports import LOOPBACK
from session_assets.embedded.server import NotReady, Server

_REPLICA_SET = "rs0"
_NOT_INITIATED = 94
_DATABASES = {"WEB_MONGO_URI": "web", "CONTEST_MONGO_URI": "goaime"}


class MongoDB(Server):
    """`mongod` on loopback without authentication. `cache_gb` bounds the WiredTiger cache."""

    name = "mongodb"
    title = "MongoDB"
    stop_steps = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))

    def __init__(self, folder: Path, tell: Callable[[str], None], patience: float = 60.0, cache_gb: float = 1) -> None:
        super().__init__(folder, tell, patience)
        self.cache_gb = cache_gb
        self._data = folder / "data"
        self._mongod = ""

    def prepare(self) -> None:
        self._mongod = binaries.mongod(self.folder)
        own_folder(self._data)

    def command(self, port: int) -> list[str]:
        return [
            *(self._mongod, "--dbpath", str(self._data), "--port", str(port), "--bind_ip", LOOPBACK),
            *("--replSet", _REPLICA_SET, "--wiredTigerCacheSizeGB", f"{self.cache_gb:g}", "--oplogSize", "1024"),
            *("--nounixsocket", "--quiet"),
            # A signalled member of a replica set waits 15 s for clients to move elsewhere: there is no elsewhere.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *("--setParameter", "transactionLifetimeLimitSeconds=20"),  # a killed client holds its sessions so long
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]

    def check(self, running: psutil.Process, port: int) -> None:
        try:
            with pymongo.MongoClient[dict[str, Any]](
                LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=2000
            ) as client:
                if client.admin.command("serverStatus")["pid"] != running.pid:
                    raise NotReady("another server answers on its port")
                _be_primary(client, f"{LOOPBACK}:{port}")
        except PyMongoError as error:
            raise NotReady(str(error)) from error

    def telling(self, lines: list[str]) -> list[str]:
        """Warnings and errors, of which each line of this log (JSON) has the first letter and much besides."""
        told: list[str] = []
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["s"] in "WEF":
                    told.append(f"{entry['s']} {entry['msg']} {json.dumps(entry.get('attr', {}))}")
            except (ValueError, KeyError, TypeError):
                told.append(line)  # of the loader or of the allocator
        return told or lines

    def uri(self, port: int, database: str) -> str:
        """The URI of a database, for clients that follow the replica set (transactions need that)."""
        return f"mongodb://{LOOPBACK}:{port}/{database}?replicaSet={_REPLICA_SET}"

    def variables(self, port: int) -> Mapping[str, str]:
        return {variable: self.uri(port, database) for variable, database in _DATABASES.items()}


def _be_primary(client: pymongo.MongoClient[dict[str, Any]], host: str) -> None:
    """Make the server the writable primary of a set of one that is known by `host`; raises `NotReady` until it is."""
    hello = client.admin.command("hello")
    if hello.get("isWritablePrimary") and hello.get("me") == host:
        return
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_INITIATED:
            raise
        # A server that is still loading its configuration says the same; initiating it then fails and is tried again.
        new = {"_id": _REPLICA_SET, "members": [{"_id": 0, "host": host}]}
        client.admin.command("replSetInitiate", new)
    else:
        if [member["host"] for member in config["members"]] != [host]:  # the port changed since the last start
            config["members"] = [{"_id": 0, "host": host}]
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
    raise NotReady("it is not the writable primary yet")
