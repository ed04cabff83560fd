"""Backfill pauses while a standby lags behind: a real one, by streaming replication. In the full run only."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from session_assets.embedded.account import unprivileged
from session_assets.embedded.binaries import postgres_bin
from session_assets.embedded.servers import Servers
from session_assets.stores.flow_waits import TooBusy
from session_assets_tests.counts import FULL
from session_assets_tests.flow.scenario import Guide
from session_assets_tests.shared_home import SharedHome


@pytest.mark.skipif(not FULL, reason="the full run starts two servers for it")
def test_backfill_pauses_while_a_standby_lags(shared_home: SharedHome) -> None:
    servers = Servers(shared_home.new_home(), tell=print)
    servers.up(["postgresql"])
    guide = Guide.new(servers.environment({})["FLOW_DATABASE_URL"])
    with _standby(guide.url, shared_home.new_home()) as standby:
        said: list[str] = []
        flow = guide.flow(lag=1.0, pause=3.0)
        flow.say = said.append
        standby.execute("SELECT pg_wal_replay_pause()")
        guide.run("UPDATE assets SET asset_type = 'x'")
        time.sleep(1.5)
        with pytest.raises(TooBusy, match=r"Paused for 3 s: replication lags by \d+ s \(limit 1\)"):
            flow.apply()
        assert [one for one in said if one.startswith("paused: replication lags by")]
        assert guide.one("SELECT count(*) FROM llm_usage_logs WHERE flow_id IS NOT NULL") == 0
        standby.execute("SELECT pg_wal_replay_resume()")
        guide.flow(lag=1.0, pause=30.0).apply()
        assert guide.findings()["rows_follow_their_session"].passed
        now = guide.one("SELECT pg_current_wal_lsn()::text")
        while not standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [now]).fetchone()[0]:  # pyright: ignore[reportOptionalSubscript]
            time.sleep(0.05)
        assert standby.execute("SELECT count(flow_id) > 0 FROM llm_usage_logs").fetchone() == (True,)
    servers.down()


@contextmanager
def _standby(url: str, folder: Path) -> Iterator[psycopg.Connection]:
    """A connection to a streaming standby of a server."""
    parts, data, programs = urlsplit(url), folder / "data", postgres_bin()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    account = unprivileged("standby", folder, [programs / "postgres", folder])
    if account:
        os.chown(folder, account.uid, account.gid)
    server = urlunsplit(parts._replace(path="/postgres"))
    run: dict[str, Any] = {"env": {"LANG": "C"}, "cwd": folder, **(account.popen if account else {})}
    prefix = [*(account.prefix if account else ())]
    copy = [*prefix, str(programs / "pg_basebackup"), "-D", str(data), "-R", "-c", "fast", "-X", "stream", "-d", server]
    subprocess.run(copy, check=True, **run)
    settings = ["-c", "unix_socket_directories=", "-c", "max_connections=200"]  # no fewer than the primary has
    start = [*prefix, str(programs / "postgres"), "-D", str(data), "-p", str(port), *settings]
    with (folder / "log").open("wb") as log, subprocess.Popen(start, stderr=log, **run) as process:
        try:
            own = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
            with _connected(own, process) as connection:
                yield connection
        finally:
            process.terminate()


def _connected(url: str, process: subprocess.Popen[Any]) -> psycopg.Connection:
    deadline = time.monotonic() + 20
    while True:
        try:
            return psycopg.connect(url, autocommit=True, connect_timeout=2)
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
