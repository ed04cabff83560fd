"""NATS JetStream: a stream that takes our subjects, messages published in order with bounded acknowledgements, and read back."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nats import errors
from nats.aio.msg import Msg
from nats.js import api
from nats.js import errors as js_errors

from session_assets.errors import NotConfigured, StoreUnavailable, UsageError
from session_assets.failpoints import armed, failpoint
from session_assets.masking import one_line, safe_text
from session_assets.stores.nats_calls import client

VARIABLE = "NATS_URL"
STREAM = "KINTELL"
_TOGETHER = 64  # messages that are sent at once
_SECONDS = 10.0  # for an answer of the server
_SCHEMES = ("nats://", "tls://", "ws://", "wss://")
_MESSAGE_ID = api.Header.MSG_ID.value
_EXPECTED = api.Header.EXPECTED_STREAM.value


@dataclass(frozen=True)
class Message:
    """What is published: the id is told to JetStream, which drops a second one within its window."""

    id: str
    subject: str
    body: bytes


class _Acknowledgements:
    """Of messages that were sent one after the other, each with its number at the end of its reply subject.

    The client's own way, a future and a random inbox for each message, takes longer than all the rest.
    """

    def __init__(self) -> None:
        self._sequences: list[int] = []
        self._left = 0
        self._settled = asyncio.Event()
        self._error: Exception | None = None

    def expect(self) -> None:
        """One more message is about to be sent."""
        self._sequences.append(0)
        self._left += 1
        self._settled.clear()

    async def take(self, message: Msg) -> None:
        if (message.headers or {}).get(api.Header.STATUS) == "503":
            self._error = js_errors.NoStreamResponseError()
        else:
            answer = json.loads(message.data)
            if "error" in answer:
                self._error = js_errors.APIError.from_error(answer["error"])
            else:
                self._sequences[int(message.subject.rpartition(".")[2])] = answer["seq"]
        self._left -= 1
        if self._left == 0 or self._error:
            self._settled.set()

    async def all(self) -> list[int]:
        """The stream sequence of each message. Raises what the server answered to any of them."""
        while self._left and not self._error:
            left = self._left
            try:
                await asyncio.wait_for(self._settled.wait(), _SECONDS)
            except TimeoutError:
                if self._left == left:  # not one of them in all that time
                    raise
        if self._error:
            raise self._error
        return self._sequences


class JetStream:
    """A connection to the stream that takes some subjects; `async with` opens it.

    Makes the stream where no stream takes any of them. Raises `NotConfigured`, `UsageError` where the subjects are divided,
    and `StoreUnavailable`.
    """

    def __init__(self, subjects: Iterable[str], env: Mapping[str, str] | None = None) -> None:
        self._servers = _servers(os.environ if env is None else env)
        self._subjects = sorted(set(subjects))
        self._client = client()
        self._last_error: Exception | None = None
        self.stream = ""
        self.read = 0
        """Messages of the stream that were read back."""

    async def __aenter__(self) -> JetStream:
        try:
            await self._client.connect(
                self._servers,
                name="session-assets kintell",
                connect_timeout=5,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=self._note,
            )
            self._js = self._client.jetstream(timeout=_SECONDS)
            self.stream = await self._found_stream() or await self._new_stream()
        except Exception as error:
            await self._closed()
            raise self._explained(error) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closed()

    async def last_sequence(self) -> int:
        """The sequence of the newest message of the stream; 0 while it has none."""
        return (await self._asked(self._js.stream_info(self.stream))).state.last_seq

    async def find(self, sequence: int, ids: Collection[str]) -> dict[str, int]:
        """Which of some message ids the stream holds after a sequence, with their sequences.

        Reads headers alone, and stops when all are found.
        """
        found: dict[str, int] = {}
        if not ids or await self.last_sequence() <= sequence:
            return found
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=sequence + 1,
            filter_subjects=self._subjects,
            ack_policy=api.AckPolicy.NONE,
            headers_only=True,
            inactive_threshold=60,
        )
        consumer = await self._asked(self._js.pull_subscribe("", stream=self.stream, config=config))
        waiting = (await self._asked(consumer.consumer_info())).num_pending or 0
        while waiting > 0 and len(found) < len(ids):
            for message in await self._asked(consumer.fetch(min(waiting, 1000), timeout=_SECONDS)):
                name = (message.headers or {}).get(_MESSAGE_ID, "")
                if name in ids:
                    found[name] = message.metadata.sequence.stream
                waiting -= 1
                self.read += 1
        return found

    async def publish(self, messages: Iterable[Message]) -> list[int]:
        """Publish in order; returns the stream sequence of each, all of them acknowledged.

        Raises `StoreUnavailable` where an acknowledgement is missing: which of the messages are stored, only the stream knows.
        """
        waiting, inbox = _Acknowledgements(), self._client.new_inbox()
        try:
            subscription = await self._client.subscribe(f"{inbox}.*", cb=waiting.take)
            for number, one in enumerate(messages):
                waiting.expect()
                headers = {_MESSAGE_ID: one.id, _EXPECTED: self.stream}
                await self._client.publish(one.subject, one.body, reply=f"{inbox}.{number}", headers=headers)
                if armed():
                    await self._client.flush()
                    failpoint("nats.sent")
                elif number % _TOGETHER == _TOGETHER - 1:
                    await asyncio.sleep(
                        0
                    )  # they go out, and acknowledgements come in, while the next ones are composed
            sequences = await waiting.all()
            await subscription.unsubscribe()
        except Exception as error:
            raise self._explained(error) from None
        return sequences

    async def _found_stream(self) -> str | None:
        """The one stream that takes all of our subjects; None where no stream takes any."""
        names: dict[str, str] = {}
        for subject in self._subjects:
            with suppress(js_errors.NotFoundError):
                names[subject] = await self._js.find_stream_name_by_subject(subject)
        if not names:
            return None
        if len(names) < len(self._subjects) or len(set(names.values())) > 1:
            told = ", ".join(f"{subject}: {names.get(subject, 'no stream')}" for subject in self._subjects)
            raise UsageError(f"{VARIABLE}: one stream must take all of our subjects, and they are divided ({told}).")
        return next(iter(names.values()))

    async def _new_stream(self) -> str:
        config = api.StreamConfig(
            name=STREAM,
            subjects=self._subjects,
            storage=api.StorageType.FILE,
            description="Events of Kintell imports (session-assets)",
        )
        await self._js.add_stream(config)
        return STREAM

    async def _asked(self, answer: Any) -> Any:
        try:
            return await answer
        except Exception as error:
            raise self._explained(error) from None

    async def _note(self, error: Exception) -> None:
        self._last_error = error

    async def _closed(self) -> None:
        with suppress(errors.Error, OSError):  # it is closed already where the server went away
            await self._client.close()

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, UsageError | StoreUnavailable):
            return error
        if isinstance(error, js_errors.APIError):
            return UsageError(
                f"{VARIABLE}: JetStream refused: {safe_text(error.description or error)}. Mend the stream."
            )
        reason = self._last_error or error
        return StoreUnavailable("NATS", VARIABLE, one_line(str(reason) or type(reason).__name__))


def _servers(env: Mapping[str, str]) -> list[str]:
    """The servers that the variable names, divided by commas."""
    url = env.get(VARIABLE, "")
    if not url:
        raise NotConfigured(VARIABLE, "NATS")
    servers = [one.strip() for one in url.split(",")]
    if not all(one.startswith(_SCHEMES) for one in servers):
        raise UsageError(f"{VARIABLE} is not a NATS URL. Correct it and try again.")
    return servers


async def _look() -> None:
    asking = client()
    last: list[Exception] = []

    async def note(error: Exception) -> None:
        last.append(error)

    try:
        await asking.connect(
            _servers(os.environ), connect_timeout=3, allow_reconnect=False, max_reconnect_attempts=1, error_cb=note
        )
        await asking.jetstream(timeout=3).account_info()
    finally:
        with suppress(errors.Error, OSError):
            await asking.close()


def unreachable() -> str | None:
    """Why JetStream cannot be used with the current environment; None where it can. Writes nothing."""
    if not os.environ.get(VARIABLE):
        return f"{VARIABLE} is not set: events wait in the outbox until it is."
    try:
        asyncio.run(_look())
    except Exception as error:
        return f"NATS ({VARIABLE}) cannot be used: {one_line(error)}. Events wait in the outbox until it can."
    return None
