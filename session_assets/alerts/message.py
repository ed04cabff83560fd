"""What an alert says, once for all channels. Nothing personal stands in it: texts are masked here, whoever wrote them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from session_assets.masking import safe_lines, safe_text

_NAMESPACE = uuid.UUID("0d7a7f39-5d0c-5d4e-8f2f-3b0c6e5d1a77")  # never change it: receivers tell repeats by the id


@dataclass(frozen=True)
class Message:
    """One alert, or the news that it is over. `key` names what it is about; `at` is ISO 8601, when that began or ended."""

    key: str
    recovered: bool
    at: str
    title: str
    text: str
    link: str | None

    @property
    def id(self) -> str:
        """The same for the same news, whenever it is sent."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.key}\n{self.recovered}\n{self.at}"))

    def as_json(self) -> dict[str, Any]:
        """For a cursor."""
        return vars(self)

    def webhook_body(self) -> dict[str, Any]:
        """What Slack and whoever understands its incoming webhooks takes; the other fields are for programs."""
        mark = ":white_check_mark:" if self.recovered else ":rotating_light:"
        link = f"\n<{self.link}|Open in Dagster>" if self.link else ""
        return {
            "text": f"{mark} *{_slack(self.title)}*\n{_slack(self.text)}{link}",
            "id": self.id,
            "status": "recovered" if self.recovered else "failing",
            "about": self.key,
            "at": self.at,
        }

    def mail_text(self) -> str:
        return f"{self.text}\n" + (f"\n{self.link}\n" if self.link else "") + f"\n{self.at}\n"


def message(key: str, recovered: bool, at: datetime, title: str, text: str, link: str | None) -> Message:
    """A message with everything masked."""
    return Message(safe_text(key), recovered, at.isoformat(), safe_text(title), safe_lines(text), link)


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
