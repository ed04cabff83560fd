"""A server that is not a member of a replica set: guarded updates work, deletes say what they need."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from session_assets.changes.session import apply_plans, raise_for
from session_assets.embedded import binaries
from session_assets.embedded.ports import LOOPBACK, choose
from session_assets.errors import SessionAssetsError
from session_assets_tests.changes.scenario import Change, Loop, by_key, doc, outcomes, rows_of
from session_assets_tests.shared_home import SharedHome


@pytest.fixture
def standalone(shared_home: SharedHome, tmp_path: Path) -> Iterator[Loop]:
    """A loop on such a server."""
    port, data = choose(str(tmp_path)), tmp_path / "data"
    data.mkdir()
    mongod = binaries.mongod(shared_home.home / "mongodb")
    command = [mongod, "--dbpath", data, "--port", str(port), "--bind_ip", LOOPBACK, "--nounixsocket", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            with MongoClient[dict[str, Any]](LOOPBACK, port) as client:
                yield Loop.new(client["web"]["documents"], tmp_path)
        finally:
            process.terminate()


def test_updates_are_guarded_one_by_one_and_deletes_are_refused_with_the_reason(standalone: Loop) -> None:
    loop = standalone
    loop.fill([doc(1, n=1), doc(2, n=2), doc(3, n=5)])
    plan = loop.plan(rows_of([Change("update", doc(number, n=number), bson.encode({"n": 9})) for number in (1, 2, 3)]))
    assert outcomes(loop.apply()) == {"applied": 2, "conflicted": 1}
    assert outcomes(loop.revert(plan)) == {"applied": 2}
    loop.plan(rows_of([Change("delete", doc(1, n=1))]))
    report = apply_plans(loop.ledger, loop.ledger.pending(), loop.store, run_id="apply", batch_size=3)
    with pytest.raises(SessionAssetsError, match="WEB_MONGO_URI: this server is not a member of a replica set"):
        raise_for(report.failed, "web")
    assert loop.now() == by_key([doc(1, n=1), doc(2, n=2), doc(3, n=5)])
