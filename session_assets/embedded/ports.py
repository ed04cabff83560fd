"""Loopback ports: the same ones for the same home, so that URIs survive a restart and even a deleted home."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"
# Below the range from which Linux and macOS take the ports of outgoing connections.
_RANGE = (21_000, 31_999)


def choose(seed: str, preferred: int | None = None, avoid: Collection[int] = ()) -> int:
    """A port that is free now: `preferred` if it can be had, else the first free one of a series fixed by `seed`.

    Another process may take it before our server does: call again with it in `avoid`.
    """
    if preferred is not None and preferred not in avoid and is_free(preferred):
        return preferred
    series = random.Random(seed)
    while True:
        port = series.randint(*_RANGE)
        if port not in avoid and is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether something listens on the port of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
