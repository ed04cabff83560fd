"""What must be seen nowhere: e-mails and secrets that tests plant, the marks by which they are found, and where to look."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql

MAILS = ("mary.canary@example.com", "zoë.canary@exämple.com", unicodedata.normalize("NFD", "irène.canary@example.com"))
PASSWORD = "hunter2-canary"
"""Of URIs that name a user."""
MARKS = ("ary.canary", "oë.canary", "e\u0300ne.canary", "ène.canary", "hunter2-canary")
"""Parts of them, lower case, that masking must not leave."""
_MAIL = re.compile(r"(?:@|%40|&#64;)[^\W_][\w-]*(?:\.[\w-]+)+")  # from the @ on: a run of anything before takes long
_MASKED = re.compile(r"\*\*\*$|(?:^|[\s\"'<>(\[,;:|\\`/=])$")
_ESCAPED = re.compile(r"\\+u([0-9a-fA-F]{4})")


def assert_none(text: str, where: str, *more: str) -> None:
    """No mark, and none of `more`, stands in the text, escaped as JSON does or plainly."""
    plain = _plain(text).lower()
    for mark in (*MARKS, *more):
        place = plain.find(mark.lower())
        assert place < 0, (where, plain[max(0, place - 300) : place + 100])


def assert_no_mail(text: str, where: str) -> None:
    """Every e-mail is masked, whoever it belongs to; an @ after a space or a sign is none."""
    plain = _plain(text)
    for found in _MAIL.finditer(plain):
        before = plain[max(0, found.start() - 3) : found.start()]
        assert _MASKED.search(before), (where, plain[max(0, found.start() - 300) : found.end() + 100])


def dagster_rows(dagster_url: str) -> Iterator[tuple[str, str]]:
    """Every row of every table of the Dagster database as text."""
    with psycopg.connect(dagster_url.replace("postgresql+psycopg2://", "postgresql://", 1)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))
            for (row,) in connection.execute(query):
                yield table, row


def assert_private(folder: Path) -> None:
    """Nobody else can read any of the files, of which there are some."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def assert_closed(home: Path) -> None:
    """Nobody else can read, list or enter anything of a home.

    Where we are root, the account of PostgreSQL may pass three folders; its own folder is closed by PostgreSQL.
    """
    passed = [home, home / "embedded", home / "embedded" / "postgresql"] if os.geteuid() == 0 else []
    paths = [path for path in home.rglob("*") if not path.is_symlink()]
    assert any(path.parts[-2:] == ("mongodb", "log") for path in paths)
    open_: dict[str, str] = {}
    for path in paths:
        with suppress(FileNotFoundError):  # a temporary file of a server
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077 and not (path in passed and mode == 0o711):
                open_[str(path.relative_to(home))] = oct(mode)
    assert not open_, open_


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
