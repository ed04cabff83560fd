"""The nouns of the compatibility layer: its flags, its errors, and how long it is kept. Source: S3."""

from __future__ import annotations

import calendar
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from session_assets.errors import BadInput, UsageError
from session_assets.settings import switch

MIGRATED_ON, MONTHS = "FLOW_MIGRATED_ON", 6
SESSION, FLOW = "session_id", "flow_id"
PAIRS = {SESSION: FLOW, "import_session_id": "import_flow_id", "validation_session_id": "validation_flow_id"}
"""Names of a session's id in requests, and those of a flow's."""
LEGACY_SCHEMA = "session_assets_legacy"


@dataclass(frozen=True)
class Flags:
    """How far the application is.

    `compatibility_mode`: roll-back, requests are turned into those of sessions. `legacy`: `session_id` is still accepted.
    `migration`: flow ids are the ones in use; switched off, it is roll-back too.
    """

    compatibility_mode: bool = False
    legacy: bool = False
    migration: bool = True

    @staticmethod
    def from_env(env: Mapping[str, str] | None = None) -> Flags:
        """Raises `UsageError` where a flag cannot be read, or where they contradict each other."""
        env = os.environ if env is None else env
        flags = Flags(
            switch(env, "SESSION_COMPATIBILITY_MODE", False),
            switch(env, "LEGACY_SESSION_ID_ENABLED", False),
            switch(env, "FLOW_ID_MIGRATION_ENABLED", True),
        )
        if not flags.migration and not flags.legacy:
            raise UsageError(
                "FLOW_ID_MIGRATION_ENABLED is off, so LEGACY_SESSION_ID_ENABLED must be on: else no request has an id."
            )
        return flags

    @property
    def rolls_back(self) -> bool:
        return self.compatibility_mode or not self.migration


class FlowIdRequired(BadInput, ValueError):
    """An event or a request came without the id of a flow: its sender must name one."""


class UnknownSession(BadInput, LookupError):
    """An id is neither that of a session nor that of a flow: create the flow, or correct the id."""


class UnknownFlow(BadInput, LookupError):
    """A flow does not exist, or has no session: legacy code cannot be told of it."""


class Contradiction(BadInput, ValueError):
    """A request names a session and a flow that do not belong together: correct the sender."""


def ends_on(migrated: date, months: int = MONTHS) -> date:
    """The last day of the compatibility layer: so many months later, or the last day of that month."""
    year, month = divmod(migrated.month - 1 + months, 12)
    year, month = migrated.year + year, month + 1
    return date(year, month, min(migrated.day, calendar.monthrange(year, month)[1]))


def migrated_on(env: Mapping[str, str]) -> date | None:
    """The day of FLOW_MIGRATED_ON. Raises `UsageError` where it is no date."""
    text = env.get(MIGRATED_ON)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{MIGRATED_ON} must be a date such as 2025-01-31. Correct it and try again.") from None
