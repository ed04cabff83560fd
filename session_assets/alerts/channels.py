"""Sends messages: an HTTP POST, an e-mail. Each raises `NotSent` where the receiver did not take it, without any secret.

A tick has 60 seconds, and what it sent is forgotten, so sent again, where it takes longer: no message takes half of that.
"""

from __future__ import annotations

import http.client
import json
import smtplib
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from session_assets.alerts.message import Message
from session_assets.alerts.settings import EMAIL_TO, SMTP, WEBHOOK, AlertSettings
from session_assets.masking import safe_text

_SECONDS = 6.0  # for a connection, and for each answer
_MAIL_SECONDS = 8.0  # for all answers of a mail server after its first
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class NotSent(Exception):
    """The receiver is away, or refuses: the message waits and is sent again."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A webhook's URL is a secret: it is not sent anywhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def send(channel: str, settings: AlertSettings, one: Message) -> str | None:
    """Send by one of the configured channels; returns what a person should know although it was taken."""
    return (_post if channel == "webhook" else _mail)(settings, one)


def _post(settings: AlertSettings, one: Message) -> None:
    assert settings.webhook is not None
    headers = {"Content-Type": "application/json", "Idempotency-Key": one.id, "User-Agent": "session-assets"}
    request = urllib.request.Request(settings.webhook, json.dumps(one.webhook_body()).encode(), headers)
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise NotSent(f"the webhook ({WEBHOOK}) answers {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: what cannot be written in a request
        raise NotSent(f"the webhook ({WEBHOOK}) cannot be reached: {type(error).__name__}") from None


def _mail(settings: AlertSettings, one: Message) -> str | None:
    assert settings.smtp is not None
    parts = urlsplit(settings.smtp)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    context = ssl.create_default_context()
    try:
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = one.title, settings.sender, ", ".join(settings.to)
        mail["Message-ID"] = f"<{one.id}@session-assets>"  # a repeat after a crash is recognized as one
        mail.set_content(one.mail_text())
        secure = parts.scheme == "smtps"
        with (
            (
                smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=context)
                if secure
                else smtplib.SMTP(host, port, timeout=_SECONDS)
            ) as server,
            _hung_up(server),
        ):
            if parts.scheme == "smtp+starttls":
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            refused = server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"the mail server ({SMTP}) answers {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise NotSent(f"the mail server ({SMTP}) did not take it: {type(error).__name__}") from None
    if refused:  # the others have it: sent again, they would get it each time
        return f"the mail server ({SMTP}) refuses {safe_text(', '.join(refused))} of {EMAIL_TO}"
    return None


@contextmanager
def _hung_up(server: smtplib.SMTP) -> Iterator[None]:
    """Ends the connection of a server that makes us wait again and again."""

    def hang_up() -> None:
        with suppress(OSError):
            if server.sock is not None:
                server.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_MAIL_SECONDS, hang_up)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
