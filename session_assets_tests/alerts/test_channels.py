"""Receivers that are slow, hang, refuse or fail: each message reaches each of them once, and no tick takes too long."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from dagster import AssetCheckKey, AssetCheckSeverity, AssetKey

from session_assets.alerts import channels
from session_assets.alerts.channels import send
from session_assets.alerts.desk import Desk
from session_assets.alerts.message import message
from session_assets.alerts.news import of_check
from session_assets.alerts.settings import AlertSettings
from session_assets.graph.check_states import CheckState
from session_assets_tests.alerts.receivers import Webhook, mail_server, webhook

TO = ("ops.canary@example.com", "gone.canary@example.com")


class Sender:
    """A desk on receivers, kept as its sensor keeps it: in the text of a cursor."""

    def __init__(self, hook: str | None, smtp: str | None = None, to: tuple[str, ...] = TO) -> None:
        self.settings = AlertSettings(hook, smtp, to, to[0], "error", None)
        self.cursor: str | None = None

    def news(self, count: int) -> None:
        desk = Desk.load(self.cursor)
        for number in range(count):
            one = message(f"check {number}", False, datetime.now(UTC), f"web: {number} fails", "text", None)
            assert desk.failing(one, self.settings.channels)
        self.cursor = desk.dump()

    def tick(self, seconds: float = 5) -> tuple[int, list[str]]:
        desk = Desk.load(self.cursor)
        told = desk.deliver(lambda channel, one: send(channel, self.settings, one), self.settings.channels, seconds)
        self.cursor = desk.dump()
        assert "canary" not in str(told)
        return told


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


def abouts(found: Webhook) -> list[str]:
    return [about for _, about in found.take()]


def test_a_slow_receiver_gets_some_each_tick(receiver: Webhook) -> None:
    sender = Sender(receiver.url)
    sender.news(5)
    receiver.slow = 0.1
    assert sender.tick(seconds=0.15) == (2, [])
    receiver.slow = 0
    assert sender.tick() == (3, []) and sender.tick() == (0, [])
    assert abouts(receiver) == [f"check {number}" for number in range(5)]


def test_a_receiver_that_fails_gets_everything_later_once(receiver: Webhook) -> None:
    sender = Sender(receiver.url)
    sender.news(3)
    for receiver.status in (500, 400, 404):
        told = sender.tick()
        assert (told[0], f"answers {receiver.status}" in told[1][0], "3 messages wait" in told[1][0]) == (0, True, True)
    receiver.status = 200
    assert sender.tick() == (3, [])
    assert abouts(receiver) == ["check 0", "check 1", "check 2"]


def test_one_that_hangs_does_not_keep_the_other_from_hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as hanging, mail_server() as (mailbox, port):
        sender = Sender(f"http://127.0.0.1:{hanging.getsockname()[1]}/canary", f"smtp://127.0.0.1:{port}")
        sender.news(2)
        sent, wrong = sender.tick(seconds=2)
        assert (sent, len(mailbox.mails)) == (2, 2)
        assert wrong == [
            "the webhook (SESSION_ASSETS_ALERT_WEBHOOK_URL) cannot be reached: TimeoutError; 2 messages wait"
        ]


def test_a_mail_that_one_of_two_does_not_take_is_sent_once() -> None:
    with mail_server() as (mailbox, port):
        mailbox.refused = {TO[1]}
        sender = Sender(None, f"smtp://127.0.0.1:{port}")
        sender.news(1)
        sent, notes = sender.tick()
        assert (sent, len(notes)) == (1, 1) and "refuses g***@example.com" in notes[0]
        assert sender.tick() == (0, [])
        assert mailbox.to == [[TO[0]]]


def test_a_mail_server_that_makes_us_wait_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_MAIL_SECONDS", 0.3)
    with mail_server() as (mailbox, port):
        mailbox.slow = 0.2
        sender = Sender(None, f"smtp://127.0.0.1:{port}")
        sender.news(1)
        began = time.monotonic()
        sent, wrong = sender.tick()
        assert (sent, mailbox.mails, time.monotonic() - began < 2) == (0, [], True)
        assert "did not take it: SMTP" in wrong[0]
        mailbox.slow = 0
        assert (sender.tick(), len(mailbox.mails)) == ((1, []), 1)


@pytest.mark.parametrize(
    ("hook", "smtp", "to"),
    [
        ("http://127.0.0.1:1/ü canary", None, TO),
        (f"http://{'a' * 70}.canary/", None, TO),
        (None, "smtp://canary:ü@127.0.0.1:1", TO),
        (None, "smtp://127.0.0.1:1", ("canary\n@example.com",)),
    ],
)
def test_settings_that_cannot_be_sent_with_are_told(hook: str | None, smtp: str | None, to: tuple[str, ...]) -> None:
    sender = Sender(hook, smtp, to)
    sender.news(1)
    sent, wrong = sender.tick()
    assert (sent, len(wrong)) == (0, 1) and "1 messages wait" in wrong[0]


def test_what_is_left_for_a_person_does_not_count_as_passed() -> None:
    state = CheckState(AssetCheckKey(AssetKey(["web", "sessions"]), "one"), False, AssetCheckSeverity.WARN, 3)
    text = of_check(state, Sender(None).settings, recovered=True, since="today").text
    assert "has only findings for a person to decide now (3, WARN)" in text and "passes" not in text
