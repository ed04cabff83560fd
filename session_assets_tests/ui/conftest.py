"""The product as its users run it: UI and daemon of `session-assets dev`, on databases of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Ui:
    """A running `session-assets dev`."""

    port: int
    environment: dict[str, str]
    home: Path

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the GraphQL endpoint what the pages ask."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            result = json.load(answer)
        assert not result.get("errors"), result["errors"]
        return result["data"]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a terminal command on the same environment."""
        command = [str(Path(sys.executable).parent / "session-assets"), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def ui(tmp_path: Path, mongo_uri: str, postgres_url: str) -> Iterator[Ui]:
    """UI and daemon on fresh databases; a test may set WEB_START_DATE before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "SESSION_ASSETS_HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "DAGSTER_POSTGRES_URL": postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1),
        "WEB_MONGO_URI": mongo_uri,
        "WEB_START_DATE": os.environ.get("WEB_START_DATE", "2025-03-01"),
        "SESSION_ASSETS_FAILPOINTS": f"@{tmp_path / 'failpoints'}",
    }
    command = [str(Path(sys.executable).parent / "session-assets"), "dev", "--port", str(port)]
    with (tmp_path / "dev.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_up(port, process, tmp_path / "dev.log")
        yield Ui(port, environment, tmp_path)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def wait_until_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"the UI does not answer: {log.read_text()[-3000:]}")
