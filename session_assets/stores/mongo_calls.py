"""The calls of a MongoDB client, for `io_calls`: each message that it sends is one, and fails as a lost connection does.

So the driver does all that it does then: it marks the connection, looks for the server again, and repeats what may be repeated.
Made of classes of PyMongo 4.20 that are not public, and used only while calls are counted.
"""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from pymongo.errors import AutoReconnect
from pymongo.synchronous.pool import Connection, Pool

from session_assets.io_calls import CallFailed, armed, io_call

_SERVER = "mongodb"
_OP_MSG = 2013
_NAME = 26  # where a message holds the name of its command, after the type of its value
_TEXT = 2


def counted() -> dict[str, Any]:
    """Options of a client whose calls are counted; none if none are."""
    return {"_pool_class": _Pool} if armed() else {}


class _Pool(Pool):
    def connect(self, handler: Any = None) -> Connection:
        if self.is_sdam:  # the driver's own look at the server
            return super().connect(handler)
        try:
            with io_call(_SERVER, "connect"):
                connection = super().connect(handler)
        except CallFailed as error:
            raise AutoReconnect(f"{self.address[0]}:{self.address[1]}: {error}") from error
        connection.__class__ = _Connection
        return connection


class _Connection(Connection):
    _call: AbstractContextManager[None] | None = None

    def send_message(self, message: bytes, max_doc_size: int) -> None:
        self._call = io_call(_SERVER, *_command(message))
        try:
            self._call.__enter__()
        except CallFailed as error:
            self._fail(error)
        super().send_message(message, max_doc_size)

    def receive_message(self, request_id: int | None) -> Any:
        reply = super().receive_message(request_id)
        call, self._call = self._call, None
        try:
            if call is not None:
                call.__exit__(None, None, None)
        except CallFailed as error:
            self._fail(error)
        return reply

    def _fail(self, error: CallFailed) -> NoReturn:
        self._raise_connection_failure(TimeoutError("timed out") if error.mode == "timeout" else error)


def _command(message: bytes) -> tuple[str, str]:
    """The name of a command, and the collection that it is about."""
    (code,) = struct.unpack_from("<i", message, 12)
    if code != _OP_MSG:
        return "message", ""
    end = message.index(0, _NAME)
    name, about = message[_NAME:end].decode(), ""
    if message[_NAME - 1] == _TEXT:
        (length,) = struct.unpack_from("<i", message, end + 1)
        about = message[end + 5 : end + 4 + length].decode()
    return name, about
