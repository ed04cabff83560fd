"""The Cosmos DB emulator: npm's `@vercel/cosmosdb-server`, because Microsoft's comes as a container image only.

`emulator/` holds its pinned version with the checksums of all it depends on, and the script that starts it. It is installed
into the home on first use, without running install scripts. It keeps its data in memory: `down` loses them.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import psutil

from session_assets.embedded import binaries, logs, process
from session_assets.embedded.ports import LOOPBACK
from session_assets.embedded.server import NotReady, Server

_DRAFT = "install-"
_START = "start.js"
_MANIFEST = ("package.json", "package-lock.json", _START)
_NPM_SECONDS = 300
# The emulator accepts any key that is base64: this one is no secret.
_KEY = "c2Vzc2lvbi1hc3NldHMtZW1iZWRkZWQ="


class Cosmos(Server):
    """The emulator over plain HTTP on loopback. Clients need `enable_endpoint_discovery=False`."""

    name = "cosmos"
    title = "Cosmos DB emulator"
    stop_steps = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
    _node = ""

    def prepare(self) -> None:
        node = binaries.node()
        self._node = node.node
        if not self._script.exists():
            self._install(node)

    def command(self, port: int) -> list[str]:
        return [self._node, str(self._script), LOOPBACK, str(port)]

    def check(self, running: psutil.Process, port: int) -> None:
        if not process.listens(running, port):
            raise NotReady("another server answers on its port")
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status != http.HTTPStatus.OK:
                raise NotReady("it does not answer as Cosmos DB does")
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(f"it does not answer ({type(error).__name__})") from error
        finally:
            connection.close()

    def variables(self, port: int) -> Mapping[str, str]:
        return {
            "AZURE_COSMOS_ENDPOINT": f"http://{LOOPBACK}:{port}",
            "AZURE_COSMOS_KEY": _KEY,
            "COSMOS_DATABASE_NAME": "identity",
        }

    @property
    def _script(self) -> Path:
        """The emulator's program, in a folder that is named by what is pinned: a new pin is a new installation."""
        pinned = b"".join(_manifest(name) for name in _MANIFEST)
        return self.folder / f"emulator-{hashlib.sha256(pinned).hexdigest()[:12]}" / _START

    def _install(self, node: binaries.Node) -> None:
        """Let npm install beside the final folder, and put the result in place as a whole."""
        final = self._script.parent
        self.tell(f"Installing the Cosmos DB emulator with npm into {final} (first use only, about 60 MB) …")
        for leftover in (*self.folder.glob(f"{_DRAFT}*"), *self.folder.glob("emulator-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = self.folder / f"{_DRAFT}{secrets.token_hex(4)}"
        draft.mkdir(mode=0o700)
        for name in _MANIFEST:
            (draft / name).touch(mode=0o600)
            (draft / name).write_bytes(_manifest(name))
        # PATH: npm's own first line asks for `node`, and a wheel's is not on it.
        path = os.pathsep.join([str(Path(node.node).parent), os.environ.get("PATH", os.defpath)])
        environ = {"npm_config_cache": str(draft / "npm-cache"), **os.environ, "PATH": path}
        options = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
        offset = logs.open_end(self.log)
        try:
            with self.log.open("ab") as output:
                subprocess.run(
                    [*node.npm, *options],
                    check=True,
                    timeout=_NPM_SECONDS,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=draft,
                    env=environ,
                    umask=0o077,
                )
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            reason = "npm could not install it (it needs the npm registry on first use)"
            raise self.failed(reason, offset) from error
        shutil.rmtree(draft / "npm-cache", ignore_errors=True)
        draft.rename(final)


def _manifest(name: str) -> bytes:
    return resources.files("session_assets.embedded").joinpath("emulator", name).read_bytes()
