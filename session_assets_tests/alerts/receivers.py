"""Receivers of alerts on this machine: a webhook and a mail server, which can be away."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope


@dataclass
class Webhook:
    """What was posted; it answers `status`, after some seconds."""

    port: int
    status: int = 200
    slow: float = 0
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    raw: list[str] = field(default_factory=list[str])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/secret-canary"

    def take(self) -> list[tuple[str, str]]:
        """Status and subject of what came since the last look."""
        found = [(one["status"], one["about"]) for one in self.bodies]
        self.bodies.clear()
        return found


@contextmanager
def webhook() -> Iterator[Webhook]:
    found: Webhook

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if found.status == 200:
                found.bodies.append(json.loads(body))
                found.raw.append(body.decode())
            time.sleep(found.slow)
            self.send_response(found.status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Webhook(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


class Mailbox:
    """What was mailed. It answers each recipient after some seconds, and refuses some."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.refused: set[str] = set()
        self.slow: float = 0

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        await asyncio.sleep(self.slow)
        if address in self.refused:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content or b"", policy=policy.default))  # pyright: ignore
        self.to.append(list(envelope.rcpt_tos))
        return "250 taken"


@contextmanager
def mail_server(port: int | None = None) -> Iterator[tuple[Mailbox, int]]:
    mailbox, port = Mailbox(), port or free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield mailbox, port
    controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
