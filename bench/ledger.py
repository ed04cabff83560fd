"""What the digests of the ledger cost: their share of the time of one apply, and of one revert. `python -m bench.ledger [ROWS]`.

Measured inside one run, since two runs on a laptop differ by more than this share: the time that the apply spends in digests
(also in reading files only for them) over the time of the whole. Both are wall clock, summed over threads for the digests.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import local
from typing import Any

import bson
import bson.codec_options
import bson.raw_bson
import polars as pl
from pymongo import MongoClient

from session_assets import sealed
from session_assets.changes import parts as parts_module
from session_assets.changes.attempt import Attempt
from session_assets.changes.change_set import Plan, conform
from session_assets.changes.ledger import Ledger
from session_assets.changes.parts import Parts, PlanWriter
from session_assets.changes.revert import revert
from session_assets.changes.session import apply_plans
from session_assets.changes.target import Known
from session_assets.embedded.servers import Servers
from session_assets.storage import Storage
from session_assets.stores.mongo_changes import MongoStore

_PARTITIONS = 3


class Spent:
    """Seconds in some functions, not counted twice where one calls another."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = local()

    def watch(self, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inside, "yes", False):
                return function(*arguments, **named)
            self._inside.yes, began = True, time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._inside.yes = False
                self.seconds += time.perf_counter() - began

        setattr(owner, name, watched)


class _Hashes:
    """`hashlib` as `parts` calls it."""

    def __init__(self, hashlib: Any) -> None:
        self.sha256, self.file_digest = hashlib.sha256, hashlib.file_digest


def _fill(collection: Any, rows: int) -> None:
    collection.drop()
    text = "x" * 120
    documents = ({"_id": number, "n": 0, "pages": [text, text, str(number)]} for number in range(rows))
    collection.insert_many(documents, ordered=False)


def _plan(ledger: Ledger, storage: Storage, collection: Any) -> Plan:
    with storage.scratch() as scratch:
        writer = PlanWriter(scratch)
        for key in range(_PARTITIONS):
            found = collection.find_raw_batches({"_id": {"$mod": [_PARTITIONS, key]}})
            before = [one.raw for batch in found for one in bson.decode_all(batch, _RAW)]
            rows = pl.DataFrame(
                {
                    "partition": [f"p{key}"] * len(before),
                    "key": [f'{{"$numberInt":"{bson.decode(one)["_id"]}"}}' for one in before],
                    "op": ["update"] * len(before),
                    "before": before,
                    "after": [bson.encode({"n": 1})] * len(before),
                }
            )
            writer.add(f"p{key}", conform(rows))
        return ledger.record(writer, "bench", [f"p{key}" for key in range(_PARTITIONS)], {})


_RAW = bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)


def main(rows: int) -> None:
    """Print the shares."""
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Path(folder) / "home", tell=print)
        servers.up(["mongodb"])
        try:
            uri = servers.mongodb.uri(servers.status()["mongodb"].port or 0, "bench")
            with MongoClient[Any](uri) as client:
                _measure(client.get_default_database()["documents"], Path(folder), rows)
        finally:
            servers.down()


def _measure(collection: Any, folder: Path, rows: int) -> None:
    storage = Storage(str(folder / "storage"), folder / "scratch")
    ledger, store = Ledger(storage, "web", Known.named("bench")), MongoStore(collection, "WEB_MONGO_URI")
    _fill(collection, rows)
    plan = _plan(ledger, storage, collection)
    spent = Spent()
    hashes = _Hashes(parts_module.hashlib)
    parts_module.hashlib = hashes  # pyright: ignore[reportAttributeAccessIssue]
    for owner, name in ((sealed, "_digest"), (hashes, "sha256"), (Parts, "require"), (Attempt, "require")):
        spent.watch(owner, name)
    for what, work in (
        ("apply", lambda: apply_plans(ledger, ledger.pending(), store, run_id="bench", batch_size=5000)),
        ("revert", lambda: revert(ledger, plan, store, run_id="bench")),
    ):
        spent.seconds, began = 0.0, time.perf_counter()
        work()
        whole = time.perf_counter() - began
        print(f"{what}: {rows:,} rows in {whole:.2f} s, {spent.seconds:.3f} s in digests: {spent.seconds / whole:.2%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
