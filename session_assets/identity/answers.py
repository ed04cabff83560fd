"""Answers what the application's analytics ask, stored or counted now: the same numbers for a GUID and for its e-mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from session_assets.errors import UsageError
from session_assets.identity.model import SLICE
from session_assets.identity.source import IdentitySource
from session_assets.identity.summaries import answer, by_email, by_user
from session_assets.settings import Settings
from session_assets.storage import Storage

BY_GUID_FILE, BY_EMAIL_FILE = (f"{SLICE}/session_summaries/{name}.parquet" for name in ("by_guid", "by_email"))


def session_summary(user: str, storage: Storage | None = None) -> dict[str, Any]:
    """`user_id`, `period_days`, `summary` and `query_timestamp` of a GUID or an e-mail, as of the last materialization.

    Zeros for somebody without sessions in that time. Raises `UsageError` where there are no summaries so far.
    """
    if storage is None:
        settings = Settings.from_env()
        storage = Storage(settings.storage, settings.home / "tmp")
    try:
        users, emails = (storage.read_parquet(name) for name in (BY_GUID_FILE, BY_EMAIL_FILE))
    except FileNotFoundError:
        raise UsageError(
            "there are no session summaries so far: materialize identity/session_summaries (job identity_summaries)."
        ) from None
    return answer(users, emails, user, now=datetime.now(UTC))


def live_tables(source: IdentitySource, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`BY_USER` and `BY_EMAIL` of the last `days` days, counted from the documents now."""
    now = datetime.now(UTC)
    sessions, auth = source.activity(now - timedelta(days=days)), source.auth()
    users = by_user(sessions, auth, now=now, days=days)
    return users, by_email(users, sessions, auth)
