"""Collections that nobody verifies: their schedule or the daemon was stopped, or each verify breaks off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from session_assets.alerts.desk import Desk
from session_assets.alerts.message import Message, message
from session_assets.alerts.settings import AlertSettings
from session_assets.graph.verified import VARIABLE

_KEY = "verify "


def tell_overdue(
    desk: Desk,
    settings: AlertSettings,
    verified: Mapping[str, datetime | None],
    allowed: timedelta,
    now: datetime,
) -> None:
    """`verified`: the last verify of each configured collection. One that was never verified has as long since it was seen here
    first; of one that is not configured any more nothing is told.
    """
    noticed: dict[str, str] = desk.more.get("noticed", {})
    noticed = {name: noticed.get(name, now.isoformat()) for name in verified}
    desk.more["noticed"] = noticed
    for key in [key for key in desk.open if key.startswith(_KEY) and key.removeprefix(_KEY) not in verified]:
        desk.open.pop(key)
    for name, last in verified.items():
        due = (last or datetime.fromisoformat(noticed[name])) + allowed
        if due < now:
            desk.failing(_overdue(name, last, due, allowed, settings), settings.channels)
        elif last is not None:
            desk.recovered(_verified(name, last, desk.open.get(_KEY + name), settings), settings.channels)


def _overdue(name: str, last: datetime | None, due: datetime, allowed: timedelta, settings: AlertSettings) -> Message:
    hours = f"{allowed / timedelta(hours=1):g} hours"
    since = "was never verified as a whole" if last is None else f"was last verified as a whole at {_text(last)}"
    text = (
        f"The collection {name} {since}; {hours} is what {VARIABLE} allows.\nNext step: session-assets verify {name}; then see"
        f" whether the schedule {name}_daily_verify is on, whether the daemon runs, and why runs of {name}_verify failed."
    )
    return message(_KEY + name, False, due, f"{name}: not verified for more than {hours}", text, _link(settings))


def _verified(name: str, last: datetime, since: str | None, settings: AlertSettings) -> Message:
    text = f"The collection {name} was verified at {_text(last)}. It was told as overdue since {since}."
    return message(_KEY + name, True, last, f"{name}: verified again", text, _link(settings))


def _link(settings: AlertSettings) -> str | None:
    return f"{settings.ui}/automation" if settings.ui else None


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
