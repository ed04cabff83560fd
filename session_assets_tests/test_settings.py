"""Settings that no calendar holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from session_assets.settings import Settings


def test_times_that_mean_for_ever_are_dates_all_the_same() -> None:
    settings = Settings.from_env(
        {"SESSION_ASSETS_SETTLE_MINUTES": "1e12", "SESSION_ASSETS_ORPHAN_GRACE_DAYS": "999999"}
    )
    now = datetime.now(UTC)
    assert now - timedelta(days=settings.orphan_grace_days) < datetime(1970, 1, 1, tzinfo=UTC)
    assert now + timedelta(minutes=settings.settle_minutes) > now > now - timedelta(minutes=settings.settle_minutes)
