"""How a MongoDB server names itself: what a plan of one of its collections belongs to (E2)."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from session_assets.changes.target import StoreTarget
from session_assets.stores.mongo import attempt, database, source_name

_UNAUTHORIZED = 13


def mongo_target(variable: str, default: str, collection: str) -> StoreTarget:
    """A collection as its server names it. Needs no right beyond those to read; raises as `database`."""
    found = database(variable, default)
    client: MongoClient[dict[str, Any]] = found.client
    hello = attempt(variable, lambda: client.admin.command("hello"))
    cluster, members, unique = _set(client, variable, hello) if "setName" in hello else _single(client, variable, hello)
    return StoreTarget(
        "mongodb", cluster, members, found.name, collection, unique, old_name=source_name(variable, default)
    )


def _set(client: MongoClient[Any], variable: str, hello: dict[str, Any]) -> tuple[str, tuple[str, ...], str | None]:
    """A replica set: its name, the members of its configuration, and its id where the user may read it."""
    members = {one.lower() for kind in ("hosts", "passives", "arbiters") for one in hello.get(kind, [])}
    config = attempt(variable, lambda: _if_allowed(client, "admin", {"replSetGetConfig": 1}))
    set_id = config["config"].get("settings", {}).get("replicaSetId") if config else None
    return hello["setName"], tuple(sorted(members)), None if set_id is None else str(set_id)


def _single(client: MongoClient[Any], variable: str, hello: dict[str, Any]) -> tuple[str, tuple[str, ...], str | None]:
    """A router of a sharded cluster, or a server without a replica set: known by its address."""
    host, port = client.address or ("unknown", 0)
    address = f"{host}:{port}".lower()
    if hello.get("msg") != "isdbgrid":
        return "standalone", (address,), None
    reply = attempt(variable, lambda: _if_allowed(client, "config", {"find": "version", "limit": 1}))
    batch = reply["cursor"]["firstBatch"] if reply else []
    cluster_id = str(batch[0]["clusterId"]) if batch and "clusterId" in batch[0] else None
    return cluster_id or f"mongos {address}", (cluster_id or address,), None


def _if_allowed(client: MongoClient[Any], name: str, command: dict[str, Any]) -> dict[str, Any] | None:
    """The reply of a command, or None if the user may not run it."""
    try:
        return client[name].command(command)
    except OperationFailure as error:
        if error.code == _UNAUTHORIZED:
            return None
        raise
