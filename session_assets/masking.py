"""Keeps e-mail addresses and credentials out of logs, metadata and error texts, and shows what a terminal would act on.

Texts come from documents and files, and may be of any size: everything here takes linear time, and what a person sees is cut
before it is looked at (21 MB of pages once kept a preview busy until somebody stopped it).
"""

from __future__ import annotations

import re

_MARKS = r"\w\u0300-\u036f"  # letters, also those that are written as a letter and an accent
_PUNCTUATION = r".!#$%&'*+/=?^`{|}~-"
_EMAIL = (
    re.compile(  # a name that belongs to no address is passed over as a whole, so that no part of it is tried again
        rf"([{_PUNCTUATION}]*+)([{_MARKS}])[{_MARKS}{_PUNCTUATION}]*+(@[{_MARKS}-]+(?:\.[{_MARKS}-]+)+)"
        rf"|[{_MARKS}{_PUNCTUATION}]++"
    )
)
_CREDENTIALS = re.compile(r"(?<![a-z0-9+.-])([0-9+.-]*+[a-z][a-z0-9+.-]*+://)([^\s@]*+)(@?)", re.IGNORECASE)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]|\r(?!\n)"
    r"|[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"  # what turns or hides text
)
_BREAKS = re.compile(r"[\r\n\t]")
_EMAIL_LENGTH = 320  # characters: the longest e-mail address
MOST = 300
"""Characters of one value that a person is shown."""


def mask_emails(text: str) -> str:
    """`mary@example.com` becomes `m***@example.com`."""
    return (
        _EMAIL.sub(lambda found: f"{found[1]}{found[2]}***{found[3]}" if found[3] else found[0], text)
        if "@" in text
        else text
    )


def mask_user(text: str) -> str:
    """A user id that may be an e-mail of any form: what stands before the last `@` is masked, anything else stays."""
    name, at, domain = text.strip().rpartition("@")
    return f"{name[:1]}***@{domain}" if at else text


def mask_credentials(text: str) -> str:
    """`mongodb://user:secret@host/db` becomes `mongodb://***@host/db`."""
    return _CREDENTIALS.sub(lambda found: f"{found[1]}***@" if found[3] else found[0], text) if "@" in text else text


def one_line(text: object, most: int = MOST) -> str:
    """As `safe_text`, on one line, and cut after a whole word if it is longer than `most` characters."""
    line = " ".join(safe_lines(text).split())
    return line if len(line) <= most else f"{line[:most].rpartition(' ')[0] or line[:most]} …"


def shown(value: object, most: int = MOST) -> str:
    """A value that a person sees: as `safe_text`, at most `most` characters. It is cut before it is masked."""
    text = value if isinstance(value, str) else str(value)
    window = 4 * most + _EMAIL_LENGTH
    if len(text) > window:
        text = _masked(_without_open_uri(text[:window]))[:-_EMAIL_LENGTH]
        return f"{safe_text(text)[: most - 1]}…"
    safe = safe_text(text)
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


def safe_text(text: object) -> str:
    """A text on one line: as `safe_lines`, and line breaks and tabs are shown as `\\n`, `\\t`: no id looks like a new line."""
    return _BREAKS.sub(_escape, safe_lines(text))


def safe_lines(text: object) -> str:
    """What may be logged of a text of several lines: credentials and e-mails masked; what is no UTF-8 as `?`.

    What moves a terminal, turns the direction of writing, or hides is shown as an escape (`\\x1b`, `\\u202e`).
    """
    return _CONTROLS.sub(_escape, _masked(str(text))).encode(errors="replace").decode()


def _masked(text: str) -> str:
    return mask_emails(mask_credentials(text))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _without_open_uri(text: str) -> str:
    """The beginning of a text, up to a URI at its end whose `@` may have been cut off."""
    word = max(text.rfind(space) for space in " \n\t") + 1
    uri = text.find("://", max(word, text.rfind("@") + 1))
    return text if uri < 0 else f"{text[: uri + 3]}{' ' * _EMAIL_LENGTH}"
