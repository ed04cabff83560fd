"""NATS with JetStream, its streams in files of our home."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
from collections.abc import Mapping

import psutil

from session_assets.embedded import binaries
from session_assets.embedded.ports import LOOPBACK
from session_assets.embedded.server import NotReady, Server


class Nats(Server):
    """`nats-server` on loopback without authentication."""

    name = "nats"
    title = "NATS"
    stop_steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
    _program = ""

    def prepare(self) -> None:
        self._program = binaries.nats_server(self.folder)

    def command(self, port: int) -> list[str]:
        return [
            *(self._program, "--addr", LOOPBACK, "--port", str(port), "--name", self._server_name),
            *("--jetstream", "--store_dir", str(self.folder / "data")),
        ]

    def check(self, running: psutil.Process, port: int) -> None:
        info = _greeting(port)
        if info.get("server_name") != self._server_name:
            raise NotReady("another server answers on its port")
        if not info.get("jetstream"):
            raise NotReady("JetStream is not ready")

    def variables(self, port: int) -> Mapping[str, str]:
        return {"NATS_URL": f"nats://{LOOPBACK}:{port}"}

    @property
    def _server_name(self) -> str:
        """Told by the server to every client: of this home and no other."""
        return "session-assets-" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]


def _greeting(port: int) -> dict[str, object]:
    """The `INFO` line with which a NATS server begins every connection."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            line = connection.makefile("rb").readline()
            return json.loads(line.removeprefix(b"INFO "))
    except (OSError, ValueError) as error:
        raise NotReady("it does not greet as NATS does") from error
