"""Tells a silent connection from a slow one, and ends the silent one.

A server that works on a long statement sends nothing. Nor does one behind a firewall, a balancer or a stopped process that
keeps the connection open, and drivers wait for that one for ever. So where a call has waited a minute without a byte, its
server is asked over another connection whether it works for us. If it says no, or cannot be asked for half a minute, the
connection is shut down, and the driver raises what it raises for any lost connection.

One thread a process looks after all calls: it begins with the first of them, and again after a fork. Knows no driver.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from session_assets.settings import number

VARIABLE = "SESSION_ASSETS_SILENCE_SECONDS"
_DEFAULT = 60.0
_LEAST = 0.5  # seconds
_ANSWER_SECONDS = 10.0
_NEWS_SECONDS = 120.0
_FDS = Path("/proc/self/fd")  # Linux alone
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_SENT, _RECEIVED = 44, 52  # of struct tcp_info: milliseconds since bytes were last sent and received
_log = logging.getLogger(__name__)
_calls: WeakSet[Calls] = WeakSet()
_lock = threading.Lock()
_watching = False
_ended: dict[str, tuple[float, str]] = {}


class Calls(Protocol):
    """Calls to one server, by one connection or by a pool of them."""

    @property
    def variable(self) -> str:
        """The variable that names the server."""
        ...

    def wait_since(self) -> float | None:
        """When the oldest call began that has no answer yet, as `time.monotonic`; None if there is none."""
        ...

    def sockets(self) -> Iterable[int]:
        """Descriptors of the connections that may be waiting."""
        ...

    def works(self) -> bool:
        """Whether the server works on any call. Asks over another connection; raises if it cannot be asked."""
        ...


@dataclass
class _Doubt:
    """What is known of calls that wait in silence."""

    denied: int = 0
    unasked_since: float | None = None
    ask_at: float = 0.0


def watch(calls: Calls) -> None:
    """Look after calls as long as somebody refers to them."""
    global _watching
    with _lock:
        _calls.add(calls)
        if not _watching:
            _watching = True
            threading.Thread(target=_Watch(limit()).run, name="silence", daemon=True).start()


def _begin_again() -> None:
    """In a new process: threads do not survive a fork, and the calls are those of another."""
    global _calls, _lock, _watching
    _calls, _lock, _watching = WeakSet(), threading.Lock(), False
    _ended.clear()


os.register_at_fork(after_in_child=_begin_again)


def limit() -> float:
    """Seconds without a byte after which a server is asked. Raises `UsageError` for what is no number."""
    return max(number(os.environ, VARIABLE, _DEFAULT), _LEAST)


def said(variable: str, within: float = _NEWS_SECONDS) -> str | None:
    """Why a connection to the server of a variable was ended, if one was within some seconds."""
    at, why = _ended.get(variable, (0.0, None))
    return why if time.monotonic() - at < within else None


def own_sockets(peers: set[tuple[str, int]]) -> list[int]:
    """Descriptors of this process that are connected to one of some addresses; none where the system does not tell."""
    found: list[int] = []
    for name in [one.name for one in _FDS.iterdir()] if _FDS.exists() else []:
        with suppress(OSError), _copy(int(name)) as copy:
            if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getpeername()[:2] in peers:
                found.append(int(name))
    return found


def addresses(host: str, port: int) -> set[tuple[str, int]]:
    """What a host's name stands for now; nothing where it has none any more."""
    with suppress(OSError):
        return {(str(one[4][0]), port) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return set()


@contextmanager
def _copy(descriptor: int) -> Iterator[socket.socket]:
    """The socket of a descriptor, of our own for the block. Raises `OSError` for what is no socket, or is closed by now."""
    copy = os.dup(descriptor)
    try:
        found = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)  # nobody else does: in two minutes of looking there were no descriptors left
        raise
    with found:
        yield found


def _quiet_for(descriptor: int) -> float | None:
    """Seconds since a byte went either way; None where the system does not tell."""
    if _TCP_INFO is None:
        return None
    try:
        with _copy(descriptor) as copy:
            found = copy.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _RECEIVED + 4)
    except OSError:  # closed by now, or no TCP
        return None
    return min(struct.unpack_from("I", found, place)[0] for place in (_SENT, _RECEIVED)) / 1000


class _Watch:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._doubts: dict[int, _Doubt] = {}

    def run(self) -> None:
        while True:
            time.sleep(self._seconds / 12)
            with _lock:
                every = list(_calls)
            self._doubts = {key: one for key, one in self._doubts.items() if key in {id(one) for one in every}}
            for calls in every:
                self._look(calls)

    def _look(self, calls: Calls) -> None:
        since, now = calls.wait_since(), time.monotonic()
        silent = list(self._silent(calls)) if since is not None and now - since >= self._seconds else []
        if not silent:
            self._doubts.pop(id(calls), None)
            return
        doubt = self._doubts.setdefault(id(calls), _Doubt())
        if now < doubt.ask_at:
            return
        why = self._verdict(calls, doubt, now)
        if why is None:
            return
        del self._doubts[id(calls)]
        _ended[calls.variable] = (now, why)
        _log.warning("A connection to the server of %s is ended: %s.", calls.variable, why)
        for descriptor in silent:
            _shut(descriptor)

    def _silent(self, calls: Calls) -> Iterable[int]:
        for descriptor in calls.sockets():
            quiet = _quiet_for(descriptor)
            if quiet is None or quiet >= self._seconds:  # unknown: the wait itself has to do
                yield descriptor

    def _verdict(self, calls: Calls, doubt: _Doubt, now: float) -> str | None:
        """Why the connection is to be ended; None while it is not."""
        for_long = f"no byte came for {self._seconds:,.0f} s"
        asked = _Asked(calls.works)
        doubt.ask_at = now + self._seconds / 6
        if asked.error is not None:
            doubt.unasked_since = doubt.unasked_since or now
            if now - doubt.unasked_since >= self._seconds / 2:
                return f"{for_long}, and the server could not be asked whether it works for us"
        elif asked.works:
            doubt.denied, doubt.unasked_since = 0, None
            doubt.ask_at = now + self._seconds / 2
        else:
            doubt.denied += 1
            if doubt.denied > 1:
                return f"{for_long}, and the server says that it does not work for us"
        return None


@dataclass
class _Asked:
    """The answer to `ask` within some seconds: a driver may hang itself."""

    ask: Callable[[], bool]
    works: bool = False
    error: Exception | None = field(default_factory=lambda: TimeoutError("no answer"))

    def __post_init__(self) -> None:
        thread = threading.Thread(target=self._run, name="silence-ask", daemon=True)
        thread.start()
        thread.join(_ANSWER_SECONDS)

    def _run(self) -> None:
        try:
            self.works = self.ask()
            self.error = None
        except Exception as error:
            self.error = error


def _shut(descriptor: int) -> None:
    with suppress(OSError), _copy(descriptor) as copy:
        copy.shutdown(socket.SHUT_RDWR)
