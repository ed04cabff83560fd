"""A TCP proxy on loopback between a program and its server, that misbehaves when it is told to."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

FAULTS = ("black hole", "stall", "cut", "reset", "half-close", "delay")
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST
_DELAY_SECONDS = 0.05
_CHUNK = 64 * 1024


class Proxy:
    """Passes bytes on between whoever connects and one server. `fault` says what happens to all connections instead.

    * `black hole`: connections stay open, new ones are taken, and no byte is passed on.
    * `stall`: the same for the connections that there are; new ones work.
    * `cut` and `reset`: connections end, with FIN or RST, and so do new ones.
    * `half-close`: the server's side is ended, as the program sees it; what the program sends is swallowed.
    * `delay`: each chunk waits 50 ms.

    With `after` the fault begins at that chunk from the program, counted from the call of `break_down`. `at` does anything
    else at a chunk, before it is passed on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stalled: set[socket.socket] = set()
        self._fault = ""
        self._planned: tuple[int, Callable[[], None]] | None = None
        self.chunks = 0
        """Chunks from the program since the last `at`."""
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def of(self, uri: str) -> str:
        """The URI of the server, through the proxy. A member of a replica set would tell its own address: `directConnection`."""
        parts = urlsplit(uri)
        login, at, _ = parts.netloc.rpartition("@")
        query = parts.query.replace("replicaSet=rs0", "directConnection=true")
        return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}", query=query))

    def break_down(self, fault: str, after: int = 0) -> None:
        self.at(after, lambda: self._begin(fault))
        if not after:
            self._begin(fault)

    def at(self, chunk: int, act: Callable[[], None]) -> None:
        """Count from now, and act at that chunk from the program; at none if it is 0."""
        with self._lock:
            self.chunks = 0
            self._planned = (chunk, act) if chunk else None

    def mend(self) -> None:
        """Pass on all that comes from now on. Connections that were broken stay so."""
        with self._lock:
            self._planned = None
            self._fault = ""
            broken, self._pairs = self._pairs, []
            self._stalled.clear()
        for pair in broken:
            _end(*pair)

    @contextmanager
    def broken(self, fault: str) -> Iterator[None]:
        self.break_down(fault)
        try:
            yield
        finally:
            self.mend()

    def close(self) -> None:
        self._listener.close()
        self.mend()

    def _begin(self, fault: str) -> None:
        with self._lock:
            self._fault = fault
            pairs = list(self._pairs)
            if fault == "stall":
                self._stalled.update(*pairs)
        for program, server in pairs:
            if fault in ("cut", "reset"):
                _end(program, server, reset=fault == "reset")
            elif fault == "half-close":
                with suppress(OSError):
                    program.shutdown(socket.SHUT_WR)

    def _accept(self) -> None:
        while True:
            try:
                program, _ = self._listener.accept()
            except OSError:
                return
            fault = self._fault
            if fault in ("cut", "reset"):
                _end(program, reset=fault == "reset")
                continue
            try:
                server = socket.create_connection(self._server)
            except OSError:  # it is down: the program sees what it would see without us
                _end(program, reset=True)
                continue
            with self._lock:
                self._pairs.append((program, server))
            if fault == "half-close":
                with suppress(OSError):
                    program.shutdown(socket.SHUT_WR)
            for source, target, counts in ((program, server, True), (server, program, False)):
                threading.Thread(target=self._pass, args=(source, target, counts), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                self._count(counts)
                if self._fault == "delay":
                    time.sleep(_DELAY_SECONDS)
                elif self._swallows(source):
                    continue
                target.sendall(chunk)
        if not self._swallows(source):
            _end(source, target)

    def _swallows(self, source: socket.socket) -> bool:
        return self._fault in ("black hole", "half-close") or source in self._stalled

    def _count(self, counts: bool) -> None:
        if not counts:
            return
        with self._lock:
            self.chunks += 1
            due = self._planned if self._planned and self.chunks >= self._planned[0] else None
            if due:
                self._planned = None
        if due:
            due[1]()


def _end(*ends: socket.socket, reset: bool = False) -> None:
    for end in ends:
        with suppress(OSError):
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes the thread that waits for bytes
        end.close()
