"""What other tests rely on: a fresh database each, and no servers left behind even by a run that was killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymongo
import pytest

from session_assets.embedded.servers import Servers
from session_assets_tests.conftest import with_database
from session_assets_tests.embedded.conftest import processes_of
from session_assets_tests.shared_home import SharedHome


@pytest.mark.parametrize("_", range(2))
def test_each_test_has_empty_databases(mongo_uri: str, postgres_url: str, _: int) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        database = client.get_default_database()
        assert database.list_collection_names() == []
        database["rows"].insert_one({})
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE rows ()")


def test_servers_of_a_killed_run_are_stopped_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "killed")
    killed = SharedHome(tmp_path)
    killed.join()
    Servers(killed.home).up(["nats"])
    (tmp_path / "killed" / "users" / str(os.getpid())).write_text("1.0")  # as if the pid were recycled since

    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "next")
    SharedHome(tmp_path).join()
    assert processes_of(killed.home) == [] and not killed.home.exists()


def test_last_worker_stops_the_servers(tmp_path: Path, bystander: Any) -> None:
    shared = SharedHome(tmp_path)
    shared.join()
    other_worker = next(tmp_path.glob("*/users/*")).with_name(str(bystander.pid))
    other_worker.write_text(str(psutil.Process(bystander.pid).create_time()))
    Servers(shared.home).up(["nats"])
    shared.leave()
    assert len(processes_of(shared.home)) == 1
    other_worker.unlink()
    shared.join()
    shared.leave()
    assert processes_of(shared.home) == []


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://127.0.0.1:1/web?replicaSet=rs0", "mongodb://127.0.0.1:1/t?replicaSet=rs0"),
        ("mongodb://u:p@a:1,b:2/web", "mongodb://u:p@a:1,b:2/t?authSource=web"),
        ("mongodb://u:p@a:1", "mongodb://u:p@a:1/t?authSource=admin"),
        ("mongodb://u:p@a:1/?authSource=x", "mongodb://u:p@a:1/t?authSource=x"),
        ("postgresql://u:p@a:1/flow?sslmode=require", "postgresql://u:p@a:1/t?sslmode=require"),
    ],
)
def test_own_server_keeps_its_options(uri: str, expected: str) -> None:
    assert with_database(uri, "t") == expected
