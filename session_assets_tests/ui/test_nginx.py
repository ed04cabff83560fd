"""The configuration of docs/nginx.conf before the read-only UI: nothing without a log-in; and the UI refuses what changes."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from session_assets_tests.ui.conftest import wait_until_up

CONFIGURATION = Path(__file__).parents[2] / "docs" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
HAS_NGINX = NGINX is not None and shutil.which("openssl") is not None
USER = ("mary", "a-password")
VIEW, OPERATE = "dagster-view.example.com", "dagster.example.com"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
MAIN = """daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{}} http {{ access_log {folder}/access.log; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; include {folder}/conf; }}"""
LAUNCH = """mutation { launchRun(executionParams: {selector: {repositoryLocationName: "session_assets",
  repositoryName: "__repository__", jobName: "web_verify"}, runConfigData: {}}) { __typename } }"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def viewer(tmp_path: Path, postgres_url: str) -> Iterator[int]:
    """The port of `session-assets dev --read-only`."""
    port = free_port()
    environment = {
        **os.environ,
        "SESSION_ASSETS_HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "DAGSTER_POSTGRES_URL": postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1),
        "SESSION_ASSETS_UI_HOSTS": f"{OPERATE}, {VIEW}",
    }
    command = [str(Path(sys.executable).parent / "session-assets"), "dev", "--read-only", "--port", str(port)]
    with (tmp_path / "dev.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_up(port, process, tmp_path / "dev.log")
        yield port
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@pytest.fixture
def proxy(tmp_path: Path, viewer: int) -> Iterator[int]:
    """The port of nginx, which knows one viewer and no operator."""
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir(mode=0o755)
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=example.com"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "pem")]
    subprocess.run([*certificate, *files], check=True, capture_output=True)
    (folder / "viewers").write_text(f"{USER[0]}:{{PLAIN}}{USER[1]}\n")
    (folder / "operators").write_text("")
    text = CONFIGURATION.read_text()
    for old, new in {
        "/etc/ssl/session-assets.pem": f"{folder}/pem",
        "/etc/ssl/session-assets.key": f"{folder}/key",
        "/etc/nginx/session-assets.": f"{folder}/",
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:3001": f"127.0.0.1:{viewer}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "conf").write_text(text)
    (folder / "nginx.conf").write_text(("user root; " if os.getuid() == 0 else "") + MAIN.format(folder=folder))
    process = subprocess.Popen([str(NGINX), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "error.log").read_text()
            time.sleep(0.05)
    yield port
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)


class _Named(http.client.HTTPSConnection):
    """A connection to this machine that asks for a name."""

    def __init__(self, port: int, name: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        super().__init__("127.0.0.1", port, timeout=20, context=context)
        self._name, self._tls = name, context

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)


def ask(
    port: int, name: str, method: str, path: str, *, known: bool, body: Any = None, **headers: str
) -> tuple[int, str]:
    connection = _Named(port, name)
    given = {"Host": name, **headers}
    if known:
        given["Authorization"] = "Basic " + base64.b64encode(":".join(USER).encode()).decode()
    if body is not None:
        given["Content-Type"] = "application/json"
    connection.request(method, path, None if body is None else json.dumps(body), given)
    response = connection.getresponse()
    text = "" if response.status == 101 else response.read().decode(errors="replace")
    connection.close()
    return response.status, text


def test_read_only_ui_refuses_mutations(viewer: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", viewer, timeout=60)
    connection.request("POST", "/graphql", json.dumps({"query": LAUNCH}), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    assert answer["data"]["launchRun"]["__typename"] == "UnauthorizedError"


@pytest.mark.skipif(
    not HAS_NGINX, reason="no nginx, or no openssl, on the PATH: the configuration of docs/nginx.conf is not tried"
)
def test_nobody_comes_in_without_a_log_in(proxy: int) -> None:
    query = {"query": "{ version }"}
    for known, expected in ((False, 401), (True, 200)):
        assert ask(proxy, VIEW, "GET", "/", known=known)[0] == expected
        assert ask(proxy, VIEW, "POST", "/graphql", known=known, body=query)[0] == expected
        assert ask(proxy, VIEW, "GET", "/server_info", known=known)[0] == expected
        upgraded = ask(proxy, VIEW, "GET", "/graphql", known=known, **UPGRADE)[0]
        assert upgraded == (101 if known else 401)
    assert "1.13" in ask(proxy, VIEW, "POST", "/graphql", known=True, body=query)[1]
    for method, path, body in (("GET", "/", None), ("POST", "/graphql", query), ("GET", "/server_info", None)):
        assert ask(proxy, OPERATE, method, path, known=True, body=body)[0] == 401  # a viewer is no operator
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(proxy, "other.example.com", "GET", "/", known=True)
    _refuses_other_pages(proxy)


OWN = {"Origin": f"https://{VIEW}", "Sec-Fetch-Site": "same-origin"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


def _refuses_other_pages(proxy: int) -> None:
    """Browsers attach the log-in to what other pages send: the page itself, links and programs come in, nothing else does."""
    query = {"query": "{ version }"}
    allowed: list[tuple[str, str, Any, dict[str, str]]] = [
        ("GET", "/assets/web/sessions", None, LINK),
        ("POST", "/graphql", query, {}),
        ("POST", "/graphql", query, OWN),
        ("GET", "/server_info", None, {"Sec-Fetch-Site": "none"}),
    ]
    for method, path, body, headers in allowed:
        assert ask(proxy, VIEW, method, path, known=True, body=body, **headers)[0] == 200, (method, path, headers)
    assert ask(proxy, VIEW, "GET", "/graphql", known=True, **UPGRADE, **OWN)[0] == 101
    refused: list[tuple[str, str, Any, dict[str, str]]] = [
        ("GET", "/graphql?query={version}", None, {}),
        ("GET", "/graphql%0A?query={version}", None, {}),
        ("GET", "/graphql?query={version}", None, LINK),
        ("GET", "/server_info", None, IMAGE),
        ("GET", "/", None, {**LINK, "Sec-Fetch-Dest": "iframe"}),
        ("GET", "/graphql", None, {**UPGRADE, "Origin": "https://evil.example"}),
        ("GET", "/graphql", None, {**UPGRADE, "Origin": f"https://{OPERATE}"}),
        ("POST", "/graphql", query, {"Origin": f"https://{VIEW}.evil.example"}),
        ("POST", "/graphql", query, {"Origin": "null"}),
        ("POST", "/graphql", query, {"Sec-Fetch-Site": "same-site"}),
        ("POST", "/graphql", None, {**OWN, "Content-Type": "text/plain; application/json"}),
        ("POST", "/report_asset_check/web/sessions?check_name=documents_accounted&passed=true", None, OWN),
    ]
    for method, path, body, headers in refused:
        status, text = ask(proxy, VIEW, method, path, known=True, body=body, **headers)
        assert (status, "nginx" in text) == (403, True), (method, path, headers)
