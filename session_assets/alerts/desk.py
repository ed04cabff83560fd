"""Who was told what: news become messages, each is sent by each channel until it is taken, and repeats are not told.

All of it stands in the cursor of a sensor, which is kept once a tick is over. A process that dies between sending and that sends
again, with the same id: at least once, and receivers can tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from session_assets.alerts.channels import NotSent
from session_assets.alerts.message import Message

_PER_TICK = 20
_SECONDS = 6.0  # of a tick for each channel, after which no other message is begun
Send = Callable[[str, Message], str | None]
"""Channel and message; returns what is to be told although it was taken."""


@dataclass
class Desk:
    """`open` holds, by key, what was told as failing; `waiting` the messages and the channels that they wait for."""

    open: dict[str, str] = field(default_factory=dict[str, str])
    waiting: list[tuple[Message, list[str]]] = field(default_factory=list[tuple[Message, list[str]]])
    more: dict[str, Any] = field(default_factory=dict[str, Any])
    """What else a sensor remembers."""

    @staticmethod
    def load(cursor: str | None) -> Desk:
        kept = json.loads(cursor) if cursor else {}
        waiting = [(Message(**one), channels) for one, channels in kept.get("waiting", [])]
        return Desk(kept.get("open", {}), waiting, kept.get("more", {}))

    def dump(self) -> str:
        waiting = [(one.as_json(), channels) for one, channels in self.waiting]
        return json.dumps({"open": self.open, "waiting": waiting, "more": self.more})

    def failing(self, one: Message, channels: list[str]) -> bool:
        """Tell that something fails, unless that was told; whether it is news."""
        if one.key in self.open:
            return False
        self.open[one.key] = one.at
        self.waiting.append((one, list(channels)))
        return True

    def recovered(self, one: Message, channels: list[str]) -> bool:
        """Tell that something is well again, where it was told that it fails; whether it is news."""
        if self.open.pop(one.key, None) is None:
            return False
        self.waiting.append((one, list(channels)))
        return True

    def deliver(self, send: Send, channels: list[str], seconds: float = _SECONDS) -> tuple[int, list[str]]:
        """Send what waits, oldest first, by channels that are still configured; how many went out, and what went wrong."""
        sent, wrong, left = 0, dict[str, str](), list[tuple[Message, list[str]]]()
        notes, spent = list[str](), dict.fromkeys(channels, 0.0)
        for one, wanted in self.waiting:
            rest = [channel for channel in wanted if channel in channels]
            for channel in list(rest):
                if channel in wrong or sent >= _PER_TICK or spent[channel] > seconds:
                    continue
                began = time.monotonic()
                try:
                    note = send(channel, one)
                except NotSent as error:
                    wrong[channel] = str(error)
                else:
                    sent += 1
                    rest.remove(channel)
                    notes += [note] if note else []
                spent[channel] += time.monotonic() - began
            if rest:
                left.append((one, rest))
        self.waiting = left
        return sent, [*dict.fromkeys(notes), *(f"{reason}; {len(left)} messages wait" for reason in wrong.values())]
