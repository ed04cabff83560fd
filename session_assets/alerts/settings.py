"""Where alerts go. The webhook's URL and the SMTP server's carry secrets: they come from the environment, and are never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from session_assets.errors import UsageError

WEBHOOK = "SESSION_ASSETS_ALERT_WEBHOOK_URL"
EMAIL_TO, EMAIL_FROM = "SESSION_ASSETS_ALERT_EMAIL_TO", "SESSION_ASSETS_ALERT_EMAIL_FROM"
SMTP = "SESSION_ASSETS_ALERT_SMTP_URL"
SEVERITY = "SESSION_ASSETS_ALERT_SEVERITY"
UI = "SESSION_ASSETS_UI_URL"


@dataclass(frozen=True)
class AlertSettings:
    """`severity` is the least that is told: `error` is what can be repaired, `warn` also what a person should decide."""

    webhook: str | None = field(repr=False)
    smtp: str | None = field(repr=False)
    to: tuple[str, ...] = field(repr=False)
    sender: str = field(repr=False)
    severity: Literal["error", "warn"]
    ui: str | None

    @property
    def channels(self) -> list[str]:
        """Those that are configured."""
        return [name for name, is_set in (("webhook", self.webhook), ("email", self.smtp)) if is_set]

    @staticmethod
    def from_env(env: Mapping[str, str] | None = None) -> AlertSettings:
        """Raises `UsageError` naming the variable that is wrong or missing."""
        env = os.environ if env is None else env
        webhook, smtp = env.get(WEBHOOK) or None, env.get(SMTP) or None
        to = tuple(one.strip() for one in env.get(EMAIL_TO, "").split(",") if one.strip())
        if webhook:
            _require_url(WEBHOOK, webhook, ("http", "https"))
        if smtp:
            _require_url(SMTP, smtp, ("smtp", "smtps", "smtp+starttls"))
        if bool(smtp) != bool(to):
            missing = EMAIL_TO if smtp else SMTP
            raise UsageError(f"{missing} is not set: e-mails need both {EMAIL_TO} and {SMTP}.")
        severity = (env.get(SEVERITY) or "error").lower()
        if severity not in ("error", "warn"):
            raise UsageError(f"{SEVERITY} must be error or warn. Correct it and try again.")
        ui = (env.get(UI) or "").rstrip("/") or None
        if ui:
            _require_url(UI, ui, ("http", "https"))
        sender = env.get(EMAIL_FROM) or (to[0] if to else "")
        return AlertSettings(webhook, smtp, to, sender, severity, ui)


def _require_url(name: str, value: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good:
        raise UsageError(f"{name} must be a URL that begins with {' or '.join(f'{one}://' for one in schemes)}.")
