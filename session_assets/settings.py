"""The environment, read once and typed. Names and defaults are those of the design; values never appear in errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from session_assets.errors import UsageError

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}
_AGES = 365_000  # days: as good as for ever, and within what a calendar holds


@dataclass(frozen=True)
class Settings:
    """Settings that all slices share.

    Times are minutes and days as named; `max_change_share` is a share of the documents read, 0…1,
    `max_unreadable_share` one of the documents that rules are about, and
    `kintell_max_rejected_share` one of the rows of a file; `kintell_encoding` is that of files that do not tell theirs, and
    `kintell_timezone` that of dates without an offset.
    """

    home: Path
    storage: str
    drops: Path
    settle_minutes: float
    orphan_grace_days: float
    allow_shrink: bool
    max_change_share: float
    max_unreadable_share: float
    kintell_encoding: str | None
    kintell_timezone: str | None
    kintell_max_rejected_share: float

    @staticmethod
    def from_env(env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; raises `UsageError` naming the variable that cannot be read."""
        env = os.environ if env is None else env
        home = Path(env.get("SESSION_ASSETS_HOME") or ".session_assets").absolute()
        return Settings(
            home=home,
            storage=env.get("SESSION_ASSETS_STORAGE") or str(home / "storage"),
            drops=Path(env.get("SESSION_ASSETS_DROPS") or home / "drops").absolute(),
            settle_minutes=min(number(env, "SESSION_ASSETS_SETTLE_MINUTES", 30), _AGES * 1440),
            orphan_grace_days=min(number(env, "SESSION_ASSETS_ORPHAN_GRACE_DAYS", 7), _AGES),
            allow_shrink=switch(env, "SESSION_ASSETS_ALLOW_SHRINK", False),
            max_change_share=number(env, "SESSION_ASSETS_MAX_CHANGE_SHARE", 1.0),
            max_unreadable_share=number(env, "SESSION_ASSETS_MAX_UNREADABLE_SHARE", 0.01),
            kintell_encoding=env.get("KINTELL_ENCODING") or None,
            kintell_timezone=env.get("KINTELL_TIMEZONE") or None,
            kintell_max_rejected_share=number(env, "KINTELL_MAX_REJECTED_SHARE", 1.0),
        )


def number(env: Mapping[str, str], name: str, default: float) -> float:
    """A non-negative number from the environment."""
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} must be a number of at least 0. Correct it and try again.")
    return value


def switch(env: Mapping[str, str], name: str, default: bool) -> bool:
    """A yes/no value from the environment."""
    text = env.get(name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError(f"{name} must be one of true, false, 1, 0, yes, no. Correct it and try again.")


def start_date(env: Mapping[str, str], name: str) -> date:
    """The first partition of a time-partitioned slice; default 2025-01-01, never in the future."""
    text = env.get(name) or "2025-01-01"
    try:
        value = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} must be a date such as 2025-01-01. Correct it and try again.") from None
    if value > date.today():
        raise UsageError(f"{name} lies in the future. Set it to the day of the oldest session.")
    return value
