"""The Cosmos DB emulator, installed by npm with checksums of everything."""

from __future__ import annotations

import http.client
import json
import os
import signal
from importlib import resources
from pathlib import Path

import pytest

from session_assets.embedded.failures import ServerFailed
from session_assets.embedded.servers import Servers


def test_installed_once_and_answers(home: Path) -> None:
    told: list[str] = []
    servers = Servers(home, tell=told.append)
    folder = home / "embedded" / "cosmos"
    (folder / "install-0").mkdir(parents=True)  # of an installation that was killed
    first = servers.up(["cosmos"])["cosmos"]
    assert len(told) == 1 and "npm" in told[0]
    assert not list(folder.glob("install-*"))

    endpoint = servers.environment({})["AZURE_COSMOS_ENDPOINT"].removeprefix("http://")
    connection = http.client.HTTPConnection(endpoint, timeout=5)
    connection.request("POST", "/dbs", json.dumps({"id": "identity"}))
    assert connection.getresponse().status == 201
    connection.close()

    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    second = servers.up(["cosmos"])["cosmos"]
    assert second.started_here and second.port == first.port and len(told) == 1


def test_without_registry_the_error_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(ServerFailed, match="npm registry"):
        Servers(home).up(["cosmos"])
    assert not list((home / "embedded" / "cosmos").glob("install-*"))


def test_everything_that_npm_installs_has_a_checksum() -> None:
    lock = json.loads(resources.files("session_assets.embedded").joinpath("emulator", "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages["node_modules/@vercel/cosmosdb-server"]["version"] == "1.0.1"
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values()), "addresses are the registry's business"
