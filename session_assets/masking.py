"""Keeps e-mail addresses and credentials out of logs, metadata and error texts."""

from __future__ import annotations

import re

_MARKS = r"\w\u0300-\u036f"  # letters, also those that are written as a letter and an accent
_EMAIL = re.compile(rf"([{_MARKS}])[{_MARKS}.!#$%&'*+/=?^`{{|}}~-]*(@[{_MARKS}-]+(?:\.[{_MARKS}-]+)+)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
_CREDENTIALS = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s@/]*(?:/[^\s@/]*)*@", re.IGNORECASE)


def mask_emails(text: str) -> str:
    """`mary@example.com` becomes `m***@example.com`."""
    return _EMAIL.sub(r"\1***\2", text)


def mask_user(text: str) -> str:
    """A user id that may be an e-mail of any form: what stands before the last `@` is masked, anything else stays."""
    name, at, domain = text.strip().rpartition("@")
    return f"{name[:1]}***@{domain}" if at else text


def mask_credentials(text: str) -> str:
    """`mongodb://user:secret@host/db` becomes `mongodb://***@host/db`."""
    return _CREDENTIALS.sub(r"\1***@", text)


def one_line(text: object, most: int = 300) -> str:
    """As `safe_text`, on one line, and cut after a whole word if it is longer than `most` characters."""
    line = " ".join(safe_text(text).split())
    return line if len(line) <= most else f"{line[:most].rpartition(' ')[0] or line[:most]} …"


def safe_text(text: object) -> str:
    """What may be logged of any text: without credentials, e-mails masked; what is no UTF-8, or moves a terminal, as `?`."""
    return _CONTROLS.sub("?", mask_emails(mask_credentials(str(text)))).encode(errors="replace").decode()
