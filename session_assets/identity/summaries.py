"""Session summaries by GUID and by e-mail, and the answer to `/api/analytics/users/{GUID or e-mail}/session-summary`.

In the original an e-mail never found anything. Here both lead to the same sessions, also to those that still stand under an
e-mail whose GUID is known. Pure Polars, no I/O. Source: seed S1 and its fact sheet.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from session_assets.identity.lookup import fold, folded, resolve
from session_assets.identity.model import CANONICAL, GUID, MOMENT

DAYS = 30

ACTIVITY_COLUMNS = pl.Schema(
    {
        "key": pl.String,  # the document id
        "user_id": pl.String,
        "user_email": pl.String,
        "status": pl.String,
        "created_at": MOMENT,
        "last_activity": MOMENT,
        "duration_seconds": pl.Float64,  # as the clean-up wrote it, else null
        "activity_count": pl.Int64,
        "requests": pl.Int64,  # how many endpoints were accessed
    }
)
"""One row a document: a session that is half-moved, or stands under its e-mail again, has two."""

_FIGURES = pl.Schema(
    {
        "total_sessions": pl.Int64,
        "active_sessions": pl.Int64,
        "total_activity_events": pl.Int64,
        "total_requests": pl.Int64,
        "average_session_duration": pl.Float64,  # minutes, two decimals
    }
)
BY_USER = pl.Schema({"user_id": pl.String, "period_days": pl.Int64, **_FIGURES, "query_timestamp": pl.String})
"""One row a GUID (lower case); sessions without one stand under what `user_id` says."""
BY_EMAIL = pl.Schema({"email": pl.String, "folded": pl.String, **BY_USER})
"""The same rows again by each e-mail of their user."""


def by_user(sessions: pl.DataFrame, auth: pl.DataFrame, *, now: datetime, days: int = DAYS) -> pl.DataFrame:
    """`ACTIVITY_COLUMNS` and `AUTH_COLUMNS` → `BY_USER`: sessions created in the last `days` days.

    A session that stands under an e-mail and under the GUID of it counts once, as the document says that was active last.
    It lasts as long as the clean-up says, else from its creation to its last activity; where neither can be told it
    is left out of the average.
    """
    recent = (
        sessions.with_columns(user_id=_users(sessions["user_id"], auth))
        .filter(pl.col("created_at") >= now - timedelta(days=days))
        .sort("last_activity", descending=True, nulls_last=True, maintain_order=True)
        .unique(["key", "user_id"], keep="first")
    )
    lasted = (pl.col("last_activity") - pl.col("created_at")).dt.total_milliseconds() / 1000
    seconds = pl.coalesce("duration_seconds", pl.when(lasted >= 0).then(lasted))
    return (
        recent.group_by("user_id")
        .agg(
            total_sessions=pl.len(),
            active_sessions=(pl.col("status") == "active").sum(),
            total_activity_events=pl.col("activity_count").sum(),
            total_requests=pl.col("requests").sum(),
            average_session_duration=(seconds.mean() / 60).round(2).fill_null(0.0),
        )
        .with_columns(period_days=pl.lit(days), query_timestamp=pl.lit(now.isoformat()))
        .sort("user_id")
        .select(pl.col(name).cast(dtype) for name, dtype in BY_USER.items())
    )


def by_email(users: pl.DataFrame, sessions: pl.DataFrame, auth: pl.DataFrame) -> pl.DataFrame:
    """`BY_USER` → `BY_EMAIL`: by the e-mails of auth, and by those that sessions carry."""
    mails = pl.concat([auth["email"], sessions["user_email"], sessions["user_id"]]).drop_nulls().unique().sort()
    known = pl.DataFrame({"email": mails, "folded": folded(mails), "user_id": _users(mails, auth)}).filter(
        ~pl.col("email").str.contains(GUID)
    )
    carried = (  # whose auth record is gone: the sessions themselves tell
        sessions.filter(pl.col("user_id").str.contains(GUID))
        .group_by(email="user_email")
        .agg(carrier=pl.col("user_id").str.to_lowercase().unique())
        .filter(pl.col("carrier").list.len() == 1)
        .select("email", pl.col("carrier").list.first())
    )
    return (
        known.join(carried, on="email", how="left")
        .with_columns(
            user_id=pl.when(pl.col("user_id") == pl.col("email"))
            .then(pl.coalesce("carrier", "user_id"))
            .otherwise("user_id")
        )
        .join(users, on="user_id", how="inner")
        .sort("email")
        .select(BY_EMAIL.names())
    )


def answer(users: pl.DataFrame, emails: pl.DataFrame, user: str, *, now: datetime, days: int = DAYS) -> dict[str, Any]:
    """What the endpoint says of a user, asked for by GUID or by e-mail: `BY_USER`, `BY_EMAIL` → a JSON object."""
    found = users.filter(pl.col("user_id") == user.lower())
    if found.is_empty():
        found = emails.filter(pl.col("email") == user)
    if found.is_empty():
        found = emails.filter(pl.col("folded") == fold(user))
    if found["user_id"].n_unique() > 1:  # e-mails that collide belong to nobody
        found = found.clear()
    row = found.row(0, named=True) if found.height else None
    figures = {name: row[name] if row else (0.0 if dtype == pl.Float64 else 0) for name, dtype in _FIGURES.items()}
    return {
        "user_id": user,
        "period_days": row["period_days"] if row else days,
        "summary": figures,
        "query_timestamp": row["query_timestamp"] if row else now.isoformat(),
    }


def _users(user_ids: pl.Series, auth: pl.DataFrame) -> pl.Series:
    """The user that each id means: its GUID in lower case, else the id as it stands."""
    found = resolve(user_ids, auth)
    known = found["resolution"].is_in([CANONICAL, "email_resolved"])
    table = pl.DataFrame({"user_id": user_ids.cast(pl.String), "guid": found["guid"], "known": known})
    return table.select(pl.when("known").then("guid").otherwise("user_id")).to_series().alias("user_id")
