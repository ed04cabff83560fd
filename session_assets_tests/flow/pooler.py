"""A connection pooler in transaction mode, as small as it can be, at the level of bytes: no PgBouncer comes from PyPI.

It lets every client in with a made-up process number and lends it a server connection from one `Z` (ready, idle) to the next
query. Server connections are logged in by libpq, whose sockets are then taken over. As PgBouncer does, it lends the server
connection that was given back last.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import psycopg

_SSL_REQUEST = 80877103
_WELCOME = (
    b"R" + struct.pack("!II", 8, 0)
    + b"".join(
        b"S" + struct.pack("!I", 4 + len(one)) + one
        for one in (b"server_version\x0018.0\x00", b"client_encoding\x00UTF8\x00", b"standard_conforming_strings\x00on\x00")
    )
    + b"K" + struct.pack("!III", 12, 4_000_000, 7)
    + b"Z" + struct.pack("!IB", 5, ord("I"))
)  # fmt: skip


@contextmanager
def transaction_pooler(url: str, size: int = 4) -> Iterator[str]:
    """The URL of a pooler in front of a database."""
    pool = _Pool(url, size)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, pool), daemon=True).start()
        parts = urlsplit(url)
        yield urlunsplit(parts._replace(netloc=f"{parts.username}:any@127.0.0.1:{listener.getsockname()[1]}"))
    pool.close()


class _Pool:
    def __init__(self, url: str, size: int) -> None:
        self._owners = [psycopg.connect(url, autocommit=True) for _ in range(size)]
        self._free = [socket.socket(fileno=os.dup(one.pgconn.socket)) for one in self._owners]
        for one in self._free:
            one.setblocking(True)
        self._changed = threading.Condition()

    def take(self) -> socket.socket:
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            return self._free.pop()

    def give(self, server: socket.socket) -> None:
        with self._changed:
            self._free.append(server)
            self._changed.notify()

    def close(self) -> None:
        for one in self._owners:
            with suppress(psycopg.Error):
                one.close()


def _accept(listener: socket.socket, pool: _Pool) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, pool), daemon=True).start()


def _serve(client: socket.socket, pool: _Pool) -> None:
    with client, suppress(OSError, ConnectionError):
        (length, kind) = struct.unpack("!II", _exactly(client, 8))
        while kind == _SSL_REQUEST:
            client.sendall(b"N")
            (length, kind) = struct.unpack("!II", _exactly(client, 8))
        _exactly(client, length - 8)
        client.sendall(_WELCOME)
        server = None
        while True:
            kind, message = _message(client)
            if kind == b"X":
                return
            server = server or pool.take()
            server.sendall(message)
            if kind not in (b"Q", b"S"):
                continue
            while True:
                answer, message = _message(server)
                client.sendall(message)
                if answer == b"Z":
                    break
            if message[-1:] == b"I":
                pool.give(server)
                server = None


def _message(peer: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(peer, 5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], head + _exactly(peer, length - 4)


def _exactly(peer: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = peer.recv(count - len(parts))
        if not part:
            raise ConnectionError
        parts += part
    return parts
