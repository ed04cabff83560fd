"""The calls of a NATS client, for `io_calls`: to connect, to ask, and to send a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from session_assets.io_calls import CallFailed, armed, io_call


def client() -> Client:
    """A client, whose calls are counted if any are."""
    return _Client() if armed() else Client()


class _Client(Client):
    async def connect(self, *arguments: Any, **options: Any) -> None:
        await super().connect(*arguments, **options)  # a client that never began cannot be closed
        with _counted("connect"):
            pass

    async def request(self, subject: str, *arguments: Any, **options: Any) -> Msg:
        with _counted("request", subject):
            return await super().request(subject, *arguments, **options)

    async def publish(self, subject: str, *arguments: Any, **options: Any) -> None:
        with _counted("publish", subject):
            await super().publish(subject, *arguments, **options)


@contextmanager
def _counted(kind: str, about: str = "") -> Iterator[None]:
    try:
        with io_call("nats", kind, about):
            yield
    except CallFailed as failed:
        raise (errors.TimeoutError if failed.mode == "timeout" else errors.ConnectionClosedError) from failed
