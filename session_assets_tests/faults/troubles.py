"""What can happen to a command while it works: to its connections, its servers, its files. Each has a beginning and an end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from threading import Thread, Timer

import psutil

from session_assets.embedded.servers import Servers
from session_assets_tests.faults.proxy import Proxy
from session_assets_tests.web.acceptance.terminal import Running

KILLED, RESTARTED, STOPPED, PAUSED = "killed", "killed, started again", "stopped", "stopped for 2 s"
OF_SERVERS = (KILLED, RESTARTED, STOPPED, PAUSED)
"""SIGKILL or SIGSTOP of all its processes. The end comes after the command, or at once for the second, in 2 s for the last."""
_PAUSE_SECONDS = 2.0


class Trouble(ABC):
    """A fault that begins in the middle of a command."""

    def __init__(self) -> None:
        self.has_begun = False
        self._error: Exception | None = None

    def meets(self, running: Running) -> None:  # noqa: B027 - most faults need not know the process
        """Told of the command when it has started."""

    def begin(self) -> None:
        """Called in the thread of a proxy, before it passes on what the command sends."""
        self.has_begun = True
        try:
            self._begin()
        except Exception as error:
            self._error = error  # raised in the thread of the test

    def end(self) -> None:
        """Mend it after the command. Raises what went wrong when it should have begun."""
        if self.has_begun:
            self._end()
        if self._error is not None:
            raise self._error

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...


class OfNetwork(Trouble):
    """Between the command and a server."""

    def __init__(self, proxy: Proxy, fault: str) -> None:
        super().__init__()
        self._proxy, self._fault = proxy, fault

    def _begin(self) -> None:
        self._proxy.break_down(self._fault)

    def _end(self) -> None:
        self._proxy.mend()


class OfServer(Trouble):
    """Of a server that no other test uses."""

    def __init__(self, servers: Servers, name: str, fault: str) -> None:
        super().__init__()
        self._servers, self._name, self._fault = servers, name, fault
        self._processes: list[psutil.Process] = []
        self._later: Thread | None = None

    def _begin(self) -> None:
        pid = self._servers.status()[self._name].pid
        assert pid is not None, f"{self._name} does not run"
        parent = psutil.Process(pid)
        parent.suspend()  # it starts no more children
        self._processes = [parent, *parent.children(recursive=True)]
        for one in self._processes:
            with suppress(psutil.NoSuchProcess):  # a child that has just ended
                one.kill() if self._fault in (KILLED, RESTARTED) else one.suspend()
        if self._fault == RESTARTED:
            self._later = Thread(target=self._start, daemon=True)
        elif self._fault == PAUSED:
            self._later = Timer(_PAUSE_SECONDS, self._go_on)
        if self._later:
            self._later.start()

    def _end(self) -> None:
        if self._later:
            self._later.join()
        elif self._fault == KILLED:
            self._start()
        else:
            self._go_on()

    def _start(self) -> None:
        self._servers.up([self._name])

    def _go_on(self) -> None:
        for one in self._processes:
            with suppress(psutil.NoSuchProcess):
                one.resume()
