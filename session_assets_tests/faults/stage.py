"""Opens scenes: databases of their own, proxies before their servers, and a fault that waits for its moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from session_assets.durable import own_folder
from session_assets.embedded.servers import Servers
from session_assets.stores.locks import VARIABLE as DAGSTER_VARIABLE
from session_assets_tests.faults import home, modes
from session_assets_tests.faults.cells import DAGSTER, HOME, NATS, STORE, Cell
from session_assets_tests.faults.proxy import Proxy
from session_assets_tests.faults.steps import Scene, scene_of
from session_assets_tests.faults.troubles import OF_SERVERS, OfNetwork, OfServer, Trouble
from session_assets_tests.kintell.streams import fresh_stream
from session_assets_tests.slices.fresh import SERVERS, fresh_variables
from session_assets_tests.slices.worlds import Variables
from session_assets_tests.web.acceptance.conftest import Open, dagster_database, template
from session_assets_tests.web.acceptance.terminal import Terminal

Between = Callable[[str], tuple[Proxy, str]]
_HASTY = "serverSelectionTimeoutMS=500&connectTimeoutMS=500"


class OwnServers:
    """Servers that no other test uses, started when they are asked for."""

    def __init__(self, servers: Servers, shared: Path, folder: Path, ends: ExitStack) -> None:
        self.servers, self._shared, self._folder, self._ends = servers, shared, folder, ends

    def variables(self, name: str) -> Variables:
        """Those that lead to a server, and to the others that run."""
        if name == "cosmos":
            self._link_emulator()
        self.servers.up([name])
        return self.servers.environment({})

    def _link_emulator(self) -> None:
        """The one that the other tests use: installing it takes half a minute."""
        folder = self.servers.home / "embedded" / "cosmos"
        own_folder(folder)
        for emulator in (self._shared / "embedded" / "cosmos").glob("emulator-*"):
            if not (folder / emulator.name).exists():
                (folder / emulator.name).symlink_to(emulator)

    @property
    def postgres(self) -> str:
        return self.variables("postgresql")["FLOW_DATABASE_URL"]

    @cached_property
    def template(self) -> str:
        """A database with Dagster's tables there."""
        return self._ends.enter_context(template(self.postgres, self._folder))


@dataclass
class Play:
    """A scene before the step that meets the fault."""

    scene: Scene
    cli: Terminal
    proxies: dict[str, Proxy]
    trouble: Trouble | None
    databases: list[str]
    """In PostgreSQL, with locks."""


class Stage:
    """Everything that a test opens here is gone after it."""

    def __init__(
        self, request: pytest.FixtureRequest, own: OwnServers, between: Between, open_terminal: Open, folder: Path
    ) -> None:
        self._shared: Callable[[str], Any] = request.getfixturevalue
        self._own, self._between, self._open_terminal, self._folder = own, between, open_terminal, folder
        self._ends = ExitStack()

    def close(self) -> None:
        self._ends.close()

    def open(self, cell: Cell, name: str, *, is_right: bool = False) -> Play:
        """A new scene with all steps done that come before that of the cell; without a fault if it is the right one."""

        def is_own(place: str) -> bool:
            return not is_right and cell.place == place and cell.fault in OF_SERVERS

        direct = self._fresh(cell.slice_, is_own=is_own(STORE))
        scene = scene_of(cell.slice_, direct, self._folder / f"files-{name}")
        self._ends.callback(scene.world.close)
        dagster = self._dagster(is_own=is_own(DAGSTER))
        variables, proxies = dict(direct), dict[str, Proxy]()
        proxies[STORE], variables[scene.variable] = self._through(scene.url)
        proxies[DAGSTER], variables[DAGSTER_VARIABLE] = self._through(dagster)
        if cell.place == NATS:
            scene.nats = self._own.variables("nats")["NATS_URL"]
            fresh_stream(scene.nats)
            proxies[NATS], variables["NATS_URL"] = self._through(scene.nats)
        cli, trouble = self._terminal(cell, name, variables, is_right=is_right)
        scene.until(cli, cell.step)
        if cell.place in proxies and not is_right:
            trouble = self._of_server(cell) if is_own(cell.place) else OfNetwork(proxies[cell.place], cell.fault)
        databases = [one.replace("+psycopg2", "") for one in (scene.url, dagster) if one.startswith("postgresql")]
        return Play(scene, cli, proxies, trouble, databases)

    def _of_server(self, cell: Cell) -> Trouble:
        name = {STORE: SERVERS[cell.slice_], DAGSTER: "postgresql", NATS: "nats"}[cell.place]
        return OfServer(self._own.servers, name, cell.fault)

    def _terminal(
        self, cell: Cell, name: str, variables: Variables, *, is_right: bool
    ) -> tuple[Terminal, Trouble | None]:
        """A terminal, and the fault of its home."""
        folder, trouble = self._folder / name, None
        streams = self._folder / f"streams-{name}"
        streams.mkdir()
        fault = cell.fault if cell.place == HOME and not is_right else ""
        if fault in home.ON_A_DISK:
            disk = self._ends.enter_context(home.disk(folder))
            folder = disk.folder / "home"
            trouble = home.FullDisk(disk) if fault == home.FULL_DISK else home.ReadOnly(disk)
        elif fault == home.NO_PERMISSION:
            variables[modes.VARIABLE] = "1"
            trouble = home.NoPermission(folder)
        elif fault == home.LIMIT:
            trouble = home.FileLimit()
        cli = self._open_terminal(
            None,
            str(folder),
            **variables,
            CONTEST_START_DATE="2025-01-01",
            SESSION_ASSETS_SILENCE_SECONDS="1",
            FLOW_SETTLE_MINUTES="0",
        )
        return replace(cli, streams=streams), trouble

    def _through(self, url: str) -> tuple[Proxy, str]:
        proxy, led = self._between(url)
        return proxy, f"{led}&{_HASTY}" if led.startswith("mongodb") else led

    def _dagster(self, *, is_own: bool) -> str:
        if not is_own:
            return self._shared("dagster_url")
        return self._ends.enter_context(dagster_database(self._own.postgres, self._own.template))

    def _fresh(self, slice_: str, *, is_own: bool) -> Variables:
        own = self._own.variables(SERVERS[slice_]) if is_own else {}
        return fresh_variables(slice_, self._shared, self._ends, own)
