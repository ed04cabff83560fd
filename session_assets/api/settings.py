"""Settings of the HTTP endpoints, and the token that every caller needs."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from session_assets.errors import UsageError
from session_assets.graph.verified import verified_within
from session_assets.settings import Settings, number

TOKEN = "SESSION_ASSETS_API_TOKEN"
MAX_UPLOAD = "SESSION_ASSETS_API_MAX_UPLOAD_MB"
RATE = "SESSION_ASSETS_API_RATE"
IMPORTS = "SESSION_ASSETS_API_IMPORTS"
WAIT = "SESSION_ASSETS_API_WAIT_SECONDS"
REQUEST = "SESSION_ASSETS_API_REQUEST_SECONDS"
_LEAST_CHARACTERS = 16


@dataclass(frozen=True)
class ApiSettings:
    """`rate` is requests a minute, `imports` how many run side by side, `wait` the seconds that a resume waits for its end.

    `request_seconds` is how long the upload and the validation of one request may take; an import that was accepted has no limit.
    """

    token: str = field(repr=False)
    max_upload_bytes: int
    rate: int
    imports: int
    wait: float
    request_seconds: float
    verified_within: timedelta

    @staticmethod
    def from_env(token: str, env: Mapping[str, str] | None = None) -> ApiSettings:
        """Raises `UsageError` naming the variable that cannot be read."""
        env = os.environ if env is None else env
        return ApiSettings(
            token=token,
            max_upload_bytes=int(number(env, MAX_UPLOAD, 1024) * 1024**2),
            rate=_whole(env, RATE, 600),
            imports=_whole(env, IMPORTS, 4),
            wait=number(env, WAIT, 20),
            request_seconds=number(env, REQUEST, 600),
            verified_within=verified_within(env),
        )


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    value = number(env, name, default)
    if value < 1 or value != int(value):
        raise UsageError(f"{name} must be a whole number of at least 1. Correct it and try again.")
    return int(value)


def find_token(settings: Settings, env: Mapping[str, str] | None = None) -> tuple[str, Path | None]:
    """The token, and the file that it stands in unless the environment says it. The file is made where there is none.

    Raises `UsageError` for a token that is too short, and for a file that others can read.
    """
    env = os.environ if env is None else env
    if TOKEN in env:
        return _checked(env[TOKEN], TOKEN), None
    path = settings.home / "api_token"
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        created = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _checked(_read(path), str(path)), path
    token = secrets.token_urlsafe(32)
    with os.fdopen(created, "w") as file:
        file.write(f"{token}\n")
    return token, path


def _read(path: Path) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), encoding="ascii") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise UsageError(f"{path}: others can read the token. Remove the file; the next start makes a new one.")
            return file.read()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{path} cannot be read as a token. Remove it; the next start makes a new one.") from None


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if len(token) < _LEAST_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{where}: a token has at least {_LEAST_CHARACTERS} printable ASCII characters without spaces, for example from"
            f" `openssl rand -hex 32`. Correct it, or leave {TOKEN} unset: then one is made in a file of its own."
        )
    return token
